#include "backends/vlbart/config.h"
#include "backends/nn/config_keys.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <cmath>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

constexpr int64_t kLarge = int64_t(1) << 24; // no dimension of a real model comes near

void refuse_unsupported(const ConfigKeys& keys) {
    const std::string& where = keys.where();
    const std::string type = keys.text("model_type", "");
    if (type != "bart") throw Error::data(where, ": model_type must be bart, got \"", type, "\"");
    const std::string activation = keys.text("activation_function", "gelu");
    if (activation != "gelu")
        throw Error::data(where, ": activation_function \"", activation, "\" is not supported (gelu is)");
    for (const char* key :
         {"normalize_before", "add_final_layer_norm", "static_position_embeddings", "extra_pos_embeddings"}) {
        const bool harmless =
            std::string(key) == "extra_pos_embeddings"
                ? keys.integer_or(key, kBartPositionOffset, 0, kLarge) == kBartPositionOffset
                : !keys.flag(key, false);
        if (!harmless) throw Error::data(where, ": ", key, " is not supported (BART's layout without it is)");
    }
    keys.refuse_other_quantisation();
    if (!keys.flag("normalize_embedding", true))
        throw Error::data(where, ": normalize_embedding must be true, got false");
    if (!keys.flag("tie_word_embeddings", true))
        throw Error::data(where, ": tie_word_embeddings must be true, got false");
}

void read_sizes(const ConfigKeys& keys, BartConfig& c) {
    c.d_model = keys.integer("d_model", 1, kLarge);
    c.encoder_layers = keys.integer("encoder_layers", 1, 4096);
    c.decoder_layers = keys.integer("decoder_layers", 1, 4096);
    c.encoder_heads = keys.integer("encoder_attention_heads", 1, 65536);
    c.decoder_heads = keys.integer("decoder_attention_heads", 1, 65536);
    c.encoder_ffn = keys.integer("encoder_ffn_dim", 1, kLarge);
    c.decoder_ffn = keys.integer("decoder_ffn_dim", 1, kLarge);
    c.vocab = keys.integer("vocab_size", 1, kLarge);
    c.positions = keys.integer_or("max_position_embeddings", 1024, 1, kLarge);
    for (auto [key, heads] : {std::pair{"encoder_attention_heads", c.encoder_heads},
                              std::pair{"decoder_attention_heads", c.decoder_heads}})
        if (c.d_model % heads != 0)
            throw Error::data(keys.where(), ": d_model (", c.d_model, ") must be a multiple of ", key, " (",
                              heads, ")");
}

void read_dropout(const ConfigKeys& keys, BartConfig& c) { // what is absent has HF's defaults
    auto read = [&](const char* key, double fallback) {
        const double p = keys.number_or(key, fallback, -1, 1);
        if (p < 0 || p >= 1) throw Error::data(keys.where(), ": ", key, " must be in [0, 1), got ", p);
        return p;
    };
    c.dropout = read("dropout", 0.1);
    c.attention_dropout = read("attention_dropout", 0);
    c.activation_dropout = read("activation_dropout", 0);
}

bool is_square(int64_t n) {
    const int64_t side = std::llround(std::sqrt(static_cast<double>(n)));
    return side * side == n;
}

void read_visual(const ConfigKeys& keys, const BartConfig& c, VisualConfig& v) {
    if (!keys.has("feat_dim")) return;
    v.feat_dim = keys.integer("feat_dim", 1, kLarge);
    v.n_images = keys.integer_or("n_images", v.n_images, 1, 4096);
    v.n_boxes = keys.integer_or("n_boxes", v.n_boxes, 1, kLarge);
    if (v.n_boxes > c.vocab)
        throw Error::data(keys.where(), ": n_boxes must be at most vocab_size (", c.vocab,
                          "), whose last rows are the boxes' embeddings, got ", v.n_boxes);
    if (keys.integer_or("pos_dim", 4, 0, kLarge) != 4)
        throw Error::data(keys.where(), ": pos_dim must be 4 (a box), got ",
                          keys.integer("pos_dim", 0, kLarge));
    const bool grid = keys.flag("downsample", false), sequence = keys.flag("oneddownsample", false);
    if (grid && sequence)
        throw Error::data(keys.where(), ": expected at most one of downsample and oneddownsample, got both");
    v.pool = grid       ? VisualConfig::Pool::grid
             : sequence ? VisualConfig::Pool::sequence
                        : VisualConfig::Pool::none;
    if (grid && !is_square(v.n_boxes))
        throw Error::data(keys.where(), ": n_boxes must be a square number for downsample, got ", v.n_boxes);
    v.order_embedding = keys.flag("use_vis_order_embedding", true);
    v.layer_norm = keys.flag("use_vis_layer_norm", true);
    v.individual_norm = keys.flag("individual_vis_layer_norm", true);
    v.shared_norm = keys.flag("share_vis_lang_layer_norm", false);
}

// Names and shapes of a checkpoint, as they are written down in order.
class Writer {
public:
    explicit Writer(ModelShapes& shapes) : shapes_(shapes) {}
    void add(std::string key, std::vector<int64_t> shape, bool linear = false) {
        shapes_.parameters.push_back({std::move(key), std::move(shape), linear, false, part});
    }
    void linear(const std::string& path, int64_t out, int64_t in, bool adaptable = true) {
        add(path + ".weight", {out, in}, adaptable);
        add(path + ".bias", {out});
    }
    void norm(const std::string& path, int64_t d) {
        add(path + ".weight", {d});
        add(path + ".bias", {d});
    }
    void attention(const std::string& path, int64_t d) {
        for (const char* name : {"k_proj", "v_proj", "q_proj", "out_proj"}) linear(path + "." + name, d, d);
        norm(path + "_layer_norm", d);
    }
    std::string part = "language";

private:
    ModelShapes& shapes_;
};

void add_visual(Writer& out, const BartConfig& c) {
    const VisualConfig& v = c.visual;
    if (!v.present()) return;
    const std::string at = "model.encoder.visual_embedding.";
    const bool individual = v.layer_norm && v.individual_norm;
    out.part = "vision";
    out.linear(at + "feat_embedding.0", c.d_model, v.feat_dim, false);
    if (individual) out.norm(at + "feat_embedding.1", c.d_model);
    out.linear(at + "absolute_vis_pos_embedding.0", c.d_model, 5, false);
    if (individual) out.norm(at + "absolute_vis_pos_embedding.1", c.d_model);
    if (v.order_embedding) out.add(at + "img_order_embedding.weight", {v.n_images, c.d_model});
    if (v.layer_norm && !v.individual_norm) out.norm(at + "layer_norm", c.d_model);
    out.part = "language";
}

} // namespace

BartConfig parse_bart_config(const std::string& text, const std::string& where) {
    json parsed;
    try {
        parsed = json::parse(text);
    } catch (const json::exception& e) {
        throw Error::data(where, ": expected JSON: ", e.what());
    }
    const ConfigKeys keys(parsed, where);
    refuse_unsupported(keys);
    BartConfig c;
    read_sizes(keys, c);
    c.scale_embedding = keys.flag("scale_embedding", false);
    c.bos = keys.token("bos_token_id", 0, c.vocab);
    c.pad = keys.token("pad_token_id", 1, c.vocab);
    c.eos = keys.token("eos_token_id", 2, c.vocab);
    c.start = keys.token("decoder_start_token_id", c.eos, c.vocab);
    c.forced_eos = keys.token("forced_eos_token_id", -1, c.vocab);
    for (auto [key, id] : {std::pair{"bos_token_id", c.bos}, std::pair{"pad_token_id", c.pad},
                           std::pair{"eos_token_id", c.eos}})
        if (id >= c.vocab)
            throw Error::data(where, ": ", key, " is missing, and BART's own (", id,
                              ") lies outside the vocabulary of ", c.vocab);
    read_dropout(keys, c);
    read_visual(keys, c, c.visual);
    return c;
}

BartConfig read_bart_config(const std::string& folder) {
    const std::string path = folder + "/config.json";
    if (!exists(path))
        throw Error::data(path, " is missing: a checkpoint folder holds config.json beside its weights");
    return parse_bart_config(read_file(path, size_t(16) << 20), path);
}

BartConfig named_bart_config(const std::string& name) {
    BartConfig base;
    if (name == "quickstart") { // two layers a side over the features of scenes and clips (tasks/scenes.h)
        base.d_model = 128, base.encoder_layers = base.decoder_layers = 2;
        base.encoder_heads = base.decoder_heads = 4, base.encoder_ffn = base.decoder_ffn = 256;
        base.vocab = 512, base.positions = 128;
        base.visual.feat_dim = 96, base.visual.n_boxes = 9;
        base.init_std = 0.08; // about 1 / sqrt(d_model): it is trained from these weights
        return base;
    }
    base.d_model = 768, base.encoder_layers = base.decoder_layers = 6;
    base.encoder_heads = base.decoder_heads = 12, base.encoder_ffn = base.decoder_ffn = 3072;
    base.vocab = 50265, base.forced_eos = 2;
    if (name == "bart-base") return base;
    if (name == "vlbart-image") return with_visual(base, "image");
    if (name == "vlbart-video") return with_visual(base, "video");
    throw Error::config("no shape is called \"", name, "\"", did_you_mean(name, bart_shape_names()),
                        " (shapes: ", join(bart_shape_names(), ", "), ")");
}

std::vector<std::string> bart_shape_names() {
    return {"bart-base", "vlbart-image", "vlbart-video", "quickstart"};
}

BartConfig with_visual(BartConfig c, const std::string& kind) {
    if (kind != "image" && kind != "video")
        throw Error::config("backend.options.visual must be image or video, got \"", kind, "\"");
    if (c.visual.present())
        throw Error::config(
            "backend.options.visual is for a plain BART; this checkpoint states its own visual "
            "embedding (feat_dim ",
            c.visual.feat_dim, "); leave the option out");
    const bool image = kind == "image";
    c.vocab += 200;
    c.visual.feat_dim = image ? 2048 : 512; // CLIP RN101's grid, CLIP ViT-B/32's frames
    c.visual.n_boxes = image ? 36 : 64;
    c.visual.pool = image ? VisualConfig::Pool::grid : VisualConfig::Pool::sequence;
    return c;
}

std::string bart_config_json(const BartConfig& c, const std::string& dtype) {
    json out{{"architectures", {"BartForConditionalGeneration"}},
             {"model_type", "bart"},
             {"is_encoder_decoder", true},
             {"activation_function", "gelu"},
             {"d_model", c.d_model},
             {"encoder_layers", c.encoder_layers},
             {"decoder_layers", c.decoder_layers},
             {"num_hidden_layers", c.encoder_layers},
             {"encoder_attention_heads", c.encoder_heads},
             {"decoder_attention_heads", c.decoder_heads},
             {"encoder_ffn_dim", c.encoder_ffn},
             {"decoder_ffn_dim", c.decoder_ffn},
             {"vocab_size", c.vocab},
             {"max_position_embeddings", c.positions},
             {"scale_embedding", c.scale_embedding},
             {"dropout", c.dropout},
             {"attention_dropout", c.attention_dropout},
             {"activation_dropout", c.activation_dropout},
             {"tie_word_embeddings", true},
             {"bos_token_id", c.bos},
             {"pad_token_id", c.pad},
             {"eos_token_id", c.eos},
             {"decoder_start_token_id", c.start},
             {"torch_dtype", dtype},
             {"use_cache", true}};
    if (c.forced_eos >= 0) out["forced_eos_token_id"] = c.forced_eos;
    const VisualConfig& v = c.visual;
    if (v.present())
        out.update({{"vl_model", "VLBart"},
                    {"feat_dim", v.feat_dim},
                    {"pos_dim", 4},
                    {"n_boxes", v.n_boxes},
                    {"n_images", v.n_images},
                    {"downsample", v.pool == VisualConfig::Pool::grid},
                    {"oneddownsample", v.pool == VisualConfig::Pool::sequence},
                    {"use_vis_order_embedding", v.order_embedding},
                    {"use_vis_layer_norm", v.layer_norm},
                    {"individual_vis_layer_norm", v.individual_norm},
                    {"share_vis_lang_layer_norm", v.shared_norm}});
    return out.dump(2) + "\n";
}

ModelShapes bart_shapes(const BartConfig& c, const std::string& name) {
    ModelShapes shapes{"vlbart", name};
    shapes.layers = c.encoder_layers + c.decoder_layers, shapes.hidden = c.d_model;
    shapes.intermediate = c.encoder_ffn, shapes.heads = shapes.kv_heads = c.encoder_heads;
    shapes.head_dim = c.d_model / c.encoder_heads, shapes.vocab = c.vocab;
    Writer out(shapes);
    out.add("model.shared.weight", {c.vocab, c.d_model});
    for (const bool encoder : {true, false}) {
        const std::string side = encoder ? "model.encoder." : "model.decoder.";
        const int64_t ffn = encoder ? c.encoder_ffn : c.decoder_ffn;
        out.add(side + "embed_positions.weight", {c.positions + kBartPositionOffset, c.d_model});
        for (int64_t i = 0; i < (encoder ? c.encoder_layers : c.decoder_layers); ++i) {
            const std::string layer = cat(side, "layers.", i, ".");
            out.attention(layer + "self_attn", c.d_model);
            if (!encoder) out.attention(layer + "encoder_attn", c.d_model);
            out.linear(layer + "fc1", ffn, c.d_model);
            out.linear(layer + "fc2", c.d_model, ffn);
            out.norm(layer + "final_layer_norm", c.d_model);
        }
        out.norm(side + "layernorm_embedding", c.d_model);
        if (encoder) add_visual(out, c);
    }
    return shapes;
}

} // namespace dorabench
