#pragma once
// The shape of a LLaVA-1.5 model out of config.json, in the two layouts of the field:
//   Hugging Face  text_config and vision_config inside; language_model.model.…, vision_tower.…,
//                 multi_modal_projector.linear_1 and linear_2 in one folder (transformers 4 and 5)
//   original      LLaMA's keys at the top with mm_… beside them; model.layers.…, model.mm_projector.0 and 2;
//                 the image encoder in a folder of its own, the image token is -200
// What the computation does not cover is refused by name.
#include "backends/llama/config.h"
#include "backends/vision/clip.h"
#include <array>

namespace dorabench {

inline constexpr int64_t kImageMark = -200; // an image in a row of ids: no token has it

struct LlavaConfig {
    LlamaConfig text;
    ClipVisionConfig vision;
    bool original = false;
    LlamaNames names;              // of the language part's tensors, as in the file
    std::string projector;         // path of its two linear layers: "model.mm_projector"
    std::string vision_prefix;     // of the image encoder's tensors: "vision_tower.vision_model."
    std::string tower;             // original layout: the image encoder's folder; empty: not found
    std::string tower_name;        // as the configuration calls it, for messages
    int64_t image_id = kImageMark; // the token that stands for an image
    int64_t feature_layer = -2;    // hidden state of the encoder that is used
    bool with_class = false;       // vision_feature_select_strategy full: the class token too
    bool projector_bias = true;
    double init_std = 0.02; // of random weights
    int64_t image_tokens() const { return vision.tokens() + (with_class ? 1 : 0); }
    std::array<std::string, 2> projector_paths() const {
        return {projector + (original ? ".0" : ".linear_1"), projector + (original ? ".2" : ".linear_2")};
    }
};

// text: config.json; where: its name, for messages. Error::data names file and key. The image encoder of the
// original layout is looked for in `vision_tower`, then where mm_vision_tower says (a folder, relative to the
// checkpoint or not, or a hub id in the local cache); its shape is known without a folder for OpenAI's
// ViT-L/14.
LlavaConfig parse_llava_config(const std::string& text, const std::string& where,
                               const std::string& vision_tower);
LlavaConfig read_llava_config(const std::string& folder, const std::string& vision_tower);
// llava-1.5-7b, llava-1.5-13b, llava-tiny, quickstart; vision_tower: an image encoder's folder, whose shape
// and weights are used instead of the name's own; empty: none.
LlavaConfig named_llava_config(const std::string& name, const std::string& vision_tower = "");
std::vector<std::string> llava_shape_names();
std::string llava_config_json(const LlavaConfig& config, const std::string& dtype); // original layout

// Every parameter under the file's names: language, projector, vision (frozen).
ModelShapes llava_shapes(const LlavaConfig& config, const std::string& name);

} // namespace dorabench
