#pragma once
// The shape of BART (facebook/bart-base's layout) and of VL-BART, which adds a visual embedding to its
// encoder, out of a config.json or by name. The visual options bear the names of VL-T5 and VL-Adapter:
// feat_dim, n_boxes, n_images, downsample, …; a config without feat_dim is plain BART. What the computation
// does not cover is refused by name.
#include "harness/api/backend.h"
#include <string>
#include <vector>

namespace dorabench {

struct VisualConfig {
    enum class Pool { none, grid, sequence }; // downsample: a square grid; oneddownsample: a row of frames
    int64_t feat_dim = 0;                     // 0: no visual embedding
    int64_t n_boxes = 36,
            n_images = 2; // places of one image behind the pooling; images that can be told apart
    Pool pool = Pool::none;
    bool order_embedding = true; // use_vis_order_embedding: of the image and of the box in it
    bool layer_norm = true;      // use_vis_layer_norm
    bool individual_norm =
        true; // individual_vis_layer_norm: one each for features and boxes, else one over the sum
    bool shared_norm = false; // share_vis_lang_layer_norm: the text's embedding norm runs over both
    bool present() const { return feat_dim > 0; }
};

struct BartConfig {
    int64_t d_model = 0, encoder_layers = 0, decoder_layers = 0, encoder_heads = 0, decoder_heads = 0;
    int64_t encoder_ffn = 0, decoder_ffn = 0, vocab = 0;
    int64_t positions =
        1024; // max_position_embeddings; the tables have two rows more, position p stands in row p + 2
    bool scale_embedding = false;
    int64_t bos = 0, pad = 1, eos = 2, start = 2; // start: decoder_start_token_id
    int64_t forced_eos = -1;                      // -1: none
    double init_std = 0.02;                       // of random weights
    // While training. Named shapes, which are for counting and timing, have none.
    double dropout = 0, attention_dropout = 0, activation_dropout = 0;
    VisualConfig visual;
};

inline constexpr int64_t kBartPositionOffset = 2;

// text: the JSON; where: the file's name, for messages. Error::data names file and key.
BartConfig parse_bart_config(const std::string& text, const std::string& where);
BartConfig read_bart_config(const std::string& folder); // folder/config.json
// bart-base, vlbart-image (2048 features, 36 boxes), vlbart-video (512 features, 64 boxes), quickstart
BartConfig named_bart_config(const std::string& name);
std::vector<std::string> bart_shape_names();
// What VL-Adapter makes of a plain BART: 200 further tokens (<extra_id_…>, <vis_extra_id_…>) and a visual
// embedding. kind: image | video; Error::config for another word and for a config that has a visual embedding
// already.
BartConfig with_visual(BartConfig config, const std::string& kind);
std::string bart_config_json(const BartConfig& config, const std::string& dtype);

// Every parameter in the checkpoint's order; the tied embedding stands once, as model.shared.
// final_logits_bias is a buffer of the original, never trained, and counted nowhere.
ModelShapes bart_shapes(const BartConfig& config, const std::string& name);

} // namespace dorabench
