#include "backends/llava/config.h"
#include "backends/nn/config_keys.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <filesystem>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

bool given(const json& object, const char* key) { return object.contains(key) && !object[key].is_null(); }

std::string text_or(const json& object, const char* key, const std::string& otherwise,
                    const std::string& where) {
    if (!given(object, key)) return otherwise;
    if (!object[key].is_string())
        throw Error::data(where, ": ", key, " must be a string, got ", object[key].dump());
    return object[key].get<std::string>();
}

int64_t integer_or(const json& object, const char* key, int64_t otherwise, const std::string& where) {
    if (!given(object, key)) return otherwise;
    const json& value = object[key];
    const json& one = value.is_array() && value.size() == 1 ? value[0] : value; // a list of one layer
    if (!one.is_number_integer() || one.get<double>() < -1e6 || one.get<double>() > 1e9)
        throw Error::data(where, ": ", key, " must be an integer, got ", value.dump(),
                          value.is_array() ? " (several layers together are not supported)" : "");
    return one.get<int64_t>();
}

bool flag_or(const json& object, const char* key, bool otherwise, const std::string& where) {
    if (!given(object, key)) return otherwise;
    if (!object[key].is_boolean())
        throw Error::data(where, ": ", key, " must be true or false, got ", object[key].dump());
    return object[key].get<bool>();
}

void need(bool holds, const std::string& where, const char* key, const std::string& got,
          const char* supported) {
    if (!holds) throw Error::data(where, ": ", key, " \"", got, "\" is not supported (", supported, " is)");
}

void check_layer(const LlavaConfig& config, const char* key, const std::string& where) {
    const int64_t states = config.vision.layers + 1;
    if (config.feature_layer < -states || config.feature_layer >= states)
        throw Error::data(where, ": ", key, " must name one of the ", states,
                          " hidden states of the image encoder, got ", config.feature_layer);
}

// transformers writes only what differs from its LlamaConfig's defaults in the published files.
json with_llama_defaults(json text, const std::string& where) {
    if (!text.is_object()) throw Error::data(where, ": expected a JSON object");
    const json defaults{{"model_type", "llama"},   {"vocab_size", 32000},        {"hidden_size", 4096},
                        {"num_hidden_layers", 32}, {"intermediate_size", 11008}, {"num_attention_heads", 32}};
    for (const auto& [key, value] : defaults.items())
        if (!given(text, key.c_str())) text[key] = value;
    return text;
}

LlavaConfig parse_hugging_face(const json& whole, const std::string& where) {
    LlavaConfig config;
    const std::string text_where = where + ": text_config";
    config.text =
        parse_llama_config(with_llama_defaults(whole["text_config"], text_where).dump(), text_where);
    if (!given(whole, "vision_config")) throw Error::data(where, ": vision_config is missing");
    if (!whole["vision_config"].is_object())
        throw Error::data(where, ": vision_config: expected a JSON object");
    config.vision = parse_clip_vision_config(whole["vision_config"].dump(), where + ": vision_config");
    const char* image_key = given(whole, "image_token_id") ? "image_token_id" : "image_token_index";
    if (!given(whole, image_key))
        throw Error::data(where, ": image_token_index (or image_token_id) is missing: the token that stands "
                                 "for an image");
    config.image_id = integer_or(whole, image_key, 0, where);
    if (config.image_id < 0 || config.image_id >= config.text.vocab)
        throw Error::data(where, ": ", image_key, " must lie in [0, ", config.text.vocab,
                          "), the vocabulary; got ", config.image_id);
    config.feature_layer = integer_or(whole, "vision_feature_layer", -2, where);
    check_layer(config, "vision_feature_layer", where);
    const std::string strategy = text_or(whole, "vision_feature_select_strategy", "default", where);
    need(strategy == "default" || strategy == "full", where, "vision_feature_select_strategy", strategy,
         "default or full");
    config.with_class = strategy == "full";
    const std::string act = text_or(whole, "projector_hidden_act", "gelu", where);
    need(act == "gelu", where, "projector_hidden_act", act, "gelu");
    config.projector_bias = flag_or(whole, "multimodal_projector_bias", true, where);
    const int64_t stated = integer_or(whole, "image_seq_length", config.image_tokens(), where);
    if (given(whole, "image_seq_length") && stated != config.image_tokens() &&
        stated != config.vision.tokens())
        throw Error::data(where, ": image_seq_length must be ", config.image_tokens(),
                          " by vision_config's image_size and patch_size, got ", stated);
    config.names = {"language_model.model.", "language_model.lm_head"};
    config.projector = "multi_modal_projector";
    config.vision_prefix = "vision_tower.vision_model.";
    return config;
}

ClipVisionConfig openai_large(int64_t image_size) {
    ClipVisionConfig vision;
    vision.image_size = image_size, vision.patch_size = 14, vision.hidden = 1024;
    vision.layers = 24, vision.heads = 16, vision.intermediate = 4096, vision.projection = 768;
    return vision;
}

// The folder that mm_vision_tower means, empty where it is nowhere on this machine.
std::string find_tower(const std::string& name, const std::string& where) {
    if (name.empty()) return {};
    const auto beside = std::filesystem::path(where).parent_path() / name;
    if (is_folder(beside.string())) return beside.lexically_normal().string();
    try {
        return resolve_checkpoint(name);
    } catch (const Error&) {
        return {}; // the caller names what is missing
    }
}

void read_tower(LlavaConfig& config, const std::string& where, const std::string& vision_tower) {
    if (!vision_tower.empty()) {
        config.tower_name = vision_tower;
        config.tower = resolve_checkpoint(vision_tower);
    } else {
        config.tower = find_tower(config.tower_name, where);
    }
    if (config.tower.empty()) {
        if (ends_with(config.tower_name, "clip-vit-large-patch14-336"))
            config.vision = openai_large(336);
        else if (ends_with(config.tower_name, "clip-vit-large-patch14"))
            config.vision = openai_large(224);
        else
            throw Error::data(
                where, ": mm_vision_tower \"", config.tower_name,
                "\" is neither a folder nor in the local cache; name the image encoder's folder "
                "as backend.vision_tower (--vision-tower)");
        return;
    }
    const std::string path = config.tower + "/config.json";
    if (!exists(path)) throw Error::data(path, " is missing: the image encoder's folder holds it");
    config.vision = parse_clip_vision_config(read_file(path, size_t(16) << 20), path);
}

LlavaConfig parse_original(const json& whole, const std::string& where, const std::string& vision_tower) {
    LlavaConfig config;
    config.original = true;
    json text = whole;
    text["model_type"] = "llama";
    config.text = parse_llama_config(text.dump(), where);
    const std::string kind = text_or(whole, "mm_projector_type", "linear", where);
    need(kind == "mlp2x_gelu", where, "mm_projector_type", kind, "mlp2x_gelu");
    for (const char* key : {"mm_use_im_start_end", "mm_use_im_patch_token"})
        if (flag_or(whole, key, false, where))
            throw Error::data(where, ": ", key, " true is not supported (false is)");
    const std::string ratio = text_or(whole, "image_aspect_ratio", "pad", where);
    if (starts_with(ratio, "anyres")) need(false, where, "image_aspect_ratio", ratio, "pad or square");
    const std::string select = text_or(whole, "mm_vision_select_feature", "patch", where);
    need(select == "patch" || select == "cls_patch", where, "mm_vision_select_feature", select,
         "patch or cls_patch");
    config.with_class = select == "cls_patch";
    config.tower_name = text_or(whole, "mm_vision_tower", "", where);
    read_tower(config, where, vision_tower);
    config.feature_layer = integer_or(whole, "mm_vision_select_layer", -2, where);
    check_layer(config, "mm_vision_select_layer", where);
    const int64_t width = integer_or(whole, "mm_hidden_size", config.vision.hidden, where);
    if (width != config.vision.hidden)
        throw Error::data(where, ": mm_hidden_size (", width, ") must be the image encoder's hidden_size (",
                          config.vision.hidden, ")",
                          config.tower.empty() ? std::string() : cat(" of ", config.tower));
    config.names = {"model.", "lm_head"};
    config.projector = "model.mm_projector";
    config.vision_prefix = "model.vision_tower.vision_tower.vision_model.";
    return config;
}

} // namespace

LlavaConfig parse_llava_config(const std::string& text, const std::string& where,
                               const std::string& vision_tower) {
    json whole;
    try {
        whole = json::parse(text);
    } catch (const json::exception& e) {
        throw Error::data(where, ": expected JSON: ", e.what());
    }
    ConfigKeys(whole, where).refuse_other_quantisation();
    const std::string type = text_or(whole, "model_type", "", where);
    if (type != "llava" && type != "llava_llama")
        throw Error::data(where, ": model_type must be llava or llava_llama, got \"", type, "\"");
    if (!given(whole, "text_config")) return parse_original(whole, where, vision_tower);
    if (!vision_tower.empty())
        throw Error::config("backend.vision_tower (--vision-tower) is for the original LLaVA layout; ", where,
                            " is of Hugging Face's, which brings its image encoder along: leave it out");
    return parse_hugging_face(whole, where);
}

LlavaConfig read_llava_config(const std::string& folder, const std::string& vision_tower) {
    const std::string path = folder + "/config.json";
    if (!exists(path))
        throw Error::data(path, " is missing: a checkpoint folder holds config.json beside its weights");
    LlavaConfig config = parse_llava_config(read_file(path, size_t(16) << 20), path, vision_tower);
    // transformers 4.52 and later may save the modules' own paths
    const bool weights =
        exists(folder + "/model.safetensors") || exists(folder + "/model.safetensors.index.json");
    if (!config.original && weights &&
        Checkpoint::open(folder).find("model.language_model.embed_tokens.weight")) {
        config.names = {"model.language_model.", "lm_head"};
        config.projector = "model.multi_modal_projector";
        config.vision_prefix = "model.vision_tower.vision_model.";
    }
    return config;
}

std::vector<std::string> llava_shape_names() {
    return {"llava-1.5-7b", "llava-1.5-13b", "llava-tiny", "quickstart"};
}

LlavaConfig named_llava_config(const std::string& name, const std::string& vision_tower) {
    LlavaConfig config;
    if (name == "llava-1.5-7b" || name == "llava-1.5-13b") {
        config.text = named_llama_config(name == "llava-1.5-7b" ? "llama2-7b" : "llama-13b");
        config.text.positions = 4096, config.text.rms_eps = 1e-5; // Vicuna 1.5 is a LLaMA 2
        config.vision = openai_large(336);
        config.tower_name = "openai/clip-vit-large-patch14-336";
    } else if (name == "llava-tiny" || name == "quickstart") { // 16 tokens an image
        config.text = named_llama_config("quickstart");
        config.text.positions = 512;
        if (name == "quickstart") { // learns its pictures from random weights within a minute
            config.text.layers = 3;
            config.init_std = 0.08; // about 1 / sqrt(hidden)
        }
        config.vision.image_size = 56, config.vision.patch_size = 14, config.vision.hidden = 64;
        config.vision.layers = 3, config.vision.heads = 4, config.vision.intermediate = 128;
    } else {
        throw Error::config("no shape is called \"", name, "\"", did_you_mean(name, llava_shape_names()),
                            " (shapes: ", join(llava_shape_names(), ", "), ")");
    }
    config.original = true;
    config.projector = "model.mm_projector";
    config.vision_prefix = "model.vision_tower.vision_tower.vision_model.";
    if (!vision_tower.empty()) {
        read_tower(config, "backend.vision_tower", vision_tower);
        check_layer(config, "mm_vision_select_layer", config.tower);
    }
    return config;
}

std::string llava_config_json(const LlavaConfig& config, const std::string& dtype) {
    json out = json::parse(llama_config_json(config.text, dtype));
    out["architectures"] = {"LlavaLlamaForCausalLM"};
    out["model_type"] = "llava";
    out["mm_hidden_size"] = config.vision.hidden;
    out["mm_projector_type"] = "mlp2x_gelu";
    out["mm_vision_select_feature"] = config.with_class ? "cls_patch" : "patch";
    out["mm_vision_select_layer"] = config.feature_layer;
    out["mm_vision_tower"] = config.tower_name;
    out["mm_use_im_start_end"] = out["mm_use_im_patch_token"] = false;
    out["image_aspect_ratio"] = "pad";
    return out.dump(2) + "\n";
}

ModelShapes llava_shapes(const LlavaConfig& config, const std::string& name) {
    ModelShapes shapes = llama_shapes(config.text, name, config.names);
    shapes.backend = "llava";
    auto add = [&](const std::string& key, std::vector<int64_t> shape, const char* part, bool frozen) {
        ParameterShape parameter{key, std::move(shape)};
        parameter.part = part;
        parameter.frozen = frozen;
        shapes.parameters.push_back(std::move(parameter));
    };
    const int64_t width = config.text.hidden;
    const auto paths = config.projector_paths();
    for (size_t i = 0; i < paths.size(); ++i) {
        add(paths[i] + ".weight", {width, i == 0 ? config.vision.hidden : width}, "projector", false);
        if (config.projector_bias) add(paths[i] + ".bias", {width}, "projector", false);
    }
    for (const auto& [key, shape] : clip_vision_shapes(config.vision))
        add(config.vision_prefix + key, shape, "vision", true);
    return shapes;
}

} // namespace dorabench
