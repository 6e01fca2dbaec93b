#include "backends/llama/config.h"
#include "backends/nn/config_keys.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;

constexpr int64_t kLarge = int64_t(1) << 24; // no dimension of a real model comes near
constexpr double kHuge = 1e15;

void read_scaling(const ConfigKeys& keys, LlamaConfig& config) {
    std::string kind = keys.text("rope_type", keys.text("type", "default"));
    RopeScaling& scaling = config.rope_scaling;
    if (kind == "default") return;
    if (kind == "linear")
        scaling.kind = RopeScaling::Kind::linear;
    else if (kind == "dynamic")
        scaling.kind = RopeScaling::Kind::dynamic;
    else if (kind == "llama3")
        scaling.kind = RopeScaling::Kind::llama3;
    else
        throw Error::data(keys.where(), ": rope_type \"", kind,
                          "\" is not supported (default, linear, dynamic, llama3 are)");
    scaling.factor = keys.number("factor", 0, kHuge);
    if (scaling.kind != RopeScaling::Kind::llama3) return;
    scaling.low_freq_factor = keys.number("low_freq_factor", 0, kHuge);
    scaling.high_freq_factor = keys.number("high_freq_factor", 0, kHuge);
    scaling.original_positions = keys.integer("original_max_position_embeddings", 1, kLarge);
    if (scaling.high_freq_factor <= scaling.low_freq_factor)
        throw Error::data(keys.where(), ": high_freq_factor must be above low_freq_factor (",
                          scaling.low_freq_factor, "), got ", scaling.high_freq_factor);
}

// Two forms: rope_theta and rope_scaling side by side (transformers 4), or both in rope_parameters (5).
void read_rope(const ConfigKeys& keys, LlamaConfig& config) {
    config.rope_theta = keys.number_or("rope_theta", config.rope_theta, 0, kHuge);
    for (const char* name : {"rope_scaling", "rope_parameters"}) {
        if (!keys.has(name)) continue;
        ConfigKeys inner(keys.raw(name), cat(keys.where(), ": ", name));
        config.rope_theta = inner.number_or("rope_theta", config.rope_theta, 0, kHuge);
        if (inner.number_or("partial_rotary_factor", 1, 0, 1) != 1)
            throw Error::data(inner.where(), ": partial_rotary_factor is not supported unless it is 1");
        read_scaling(inner, config);
    }
}

void refuse_unsupported(const ConfigKeys& keys, const std::string& type) {
    const std::string& where = keys.where();
    const std::string activation = keys.text("hidden_act", "silu");
    if (activation != "silu" && activation != "swish")
        throw Error::data(where, ": hidden_act \"", activation, "\" is not supported (silu is)");
    if (keys.number_or("partial_rotary_factor", 1, 0, 1) != 1)
        throw Error::data(where, ": partial_rotary_factor is not supported unless it is 1");
    const bool windowed =
        keys.has("sliding_window") && (type == "mistral" || keys.flag("use_sliding_window", false));
    if (windowed)
        throw Error::data(where, ": sliding_window ", keys.raw("sliding_window").dump(),
                          " is not supported (null is)");
    keys.refuse_other_quantisation();
    if (keys.integer_or("pretraining_tp", 1, 1, 1 << 20) != 1)
        throw Error::data(where, ": pretraining_tp is not supported unless it is 1");
}

std::vector<int64_t> read_eos(const ConfigKeys& keys, std::vector<int64_t> fallback) {
    if (!keys.has("eos_token_id")) return fallback;
    const json& value = keys.raw("eos_token_id");
    std::vector<int64_t> out;
    for (const json& id : value.is_array() ? value : json::array({value})) {
        if (!id.is_number_integer())
            throw Error::data(keys.where(), ": eos_token_id must be an integer or a list of integers, got ",
                              value.dump());
        out.push_back(id.get<int64_t>());
    }
    return out;
}

void read_sizes(const ConfigKeys& keys, LlamaConfig& config) {
    config.layers = keys.integer("num_hidden_layers", 1, 4096);
    config.hidden = keys.integer("hidden_size", 1, kLarge);
    config.intermediate = keys.integer("intermediate_size", 1, kLarge);
    config.vocab = keys.integer("vocab_size", 1, kLarge);
    config.heads = keys.integer("num_attention_heads", 1, 65536);
    config.kv_heads = keys.integer_or("num_key_value_heads", config.heads, 1, 65536);
    config.positions = keys.integer_or("max_position_embeddings", config.positions, 1, int64_t(1) << 32);
    if (config.heads % config.kv_heads != 0)
        throw Error::data(keys.where(), ": num_attention_heads (", config.heads,
                          ") must be a multiple of num_key_value_heads (", config.kv_heads, ")");
    if (!keys.has("head_dim") && config.hidden % config.heads != 0)
        throw Error::data(keys.where(), ": hidden_size (", config.hidden,
                          ") must be a multiple of num_attention_heads (", config.heads, ")");
    config.head_dim =
        keys.integer_or("head_dim", std::max<int64_t>(1, config.hidden / config.heads), 1, 65536);
    if (config.head_dim % 2 != 0)
        throw Error::data(keys.where(), ": head_dim must be even for rotary positions, got ",
                          config.head_dim);
}

struct Named {
    const char* name;
    int64_t layers, hidden, heads, kv_heads, intermediate, vocab, positions;
    double eps, theta;
};
// The published shapes, and small ones of the same form (slice: one layer of LLaMA-7B, vocabulary cut so that
// the layer is what is timed).
constexpr Named kNamed[] = {
    {"llama-7b", 32, 4096, 32, 32, 11008, 32000, 2048, 1e-6, 10000},
    {"llama-13b", 40, 5120, 40, 40, 13824, 32000, 2048, 1e-6, 10000},
    {"llama2-7b", 32, 4096, 32, 32, 11008, 32000, 4096, 1e-5, 10000},
    {"llama3-8b", 32, 4096, 32, 8, 14336, 128256, 8192, 1e-5, 500000},
    {"llama-7b-slice", 1, 4096, 32, 32, 11008, 1024, 8192, 1e-6, 10000},
    {"small", 8, 768, 12, 12, 2048, 32000, 8192, 1e-6, 10000},
    {"tiny", 4, 256, 4, 4, 688, 1024, 8192, 1e-6, 10000},
    {"quickstart", 4, 128, 4, 2, 352, 512, 256, 1e-5, 500000},
};

} // namespace

LlamaConfig parse_llama_config(const std::string& text, const std::string& where) {
    json parsed;
    try {
        parsed = json::parse(text);
    } catch (const json::exception& e) {
        throw Error::data(where, ": expected JSON: ", e.what());
    }
    ConfigKeys keys(parsed, where);
    LlamaConfig config;
    config.model_type = keys.text("model_type", "");
    if (config.model_type != "llama" && config.model_type != "mistral" && config.model_type != "qwen2")
        throw Error::data(where, ": model_type must be llama, mistral or qwen2, got \"", config.model_type,
                          "\"");
    refuse_unsupported(keys, config.model_type);
    read_sizes(keys, config);
    const bool qwen = config.model_type == "qwen2", llama = config.model_type == "llama";
    config.rms_eps = keys.number_or("rms_norm_eps", 1e-6, 0, 1);
    config.tied = keys.flag("tie_word_embeddings", false);
    config.qkv_bias = qwen || (llama && keys.flag("attention_bias", false));
    config.o_bias = llama && keys.flag("attention_bias", false);
    config.mlp_bias = llama && keys.flag("mlp_bias", false);
    read_rope(keys, config);
    config.bos = keys.integer_or("bos_token_id", qwen ? -1 : 1, -1, kLarge);
    config.pad = keys.integer_or("pad_token_id", -1, -1, kLarge);
    config.eos = read_eos(keys, qwen ? std::vector<int64_t>{} : std::vector<int64_t>{2});
    return config;
}

LlamaConfig read_llama_config(const std::string& folder) {
    const std::string path = folder + "/config.json";
    if (!exists(path))
        throw Error::data(path, " is missing: a checkpoint folder holds config.json beside its weights");
    return parse_llama_config(read_file(path, size_t(16) << 20), path);
}

LlamaConfig named_llama_config(const std::string& name) {
    for (const Named& n : kNamed) {
        if (name != n.name) continue;
        LlamaConfig config;
        config.layers = n.layers, config.hidden = n.hidden, config.heads = n.heads,
        config.kv_heads = n.kv_heads;
        config.head_dim = n.hidden / n.heads, config.intermediate = n.intermediate, config.vocab = n.vocab;
        config.positions = n.positions, config.rms_eps = n.eps, config.rope_theta = n.theta;
        if (name == "llama3-8b") config.bos = 128000, config.eos = {128001, 128009};
        return config;
    }
    throw Error::config("no shape is called \"", name, "\"", did_you_mean(name, llama_shape_names()),
                        " (shapes: ", join(llama_shape_names(), ", "), ")");
}

std::vector<std::string> llama_shape_names() {
    std::vector<std::string> names;
    for (const Named& n : kNamed) names.push_back(n.name);
    return names;
}

std::string llama_config_json(const LlamaConfig& c, const std::string& dtype) {
    static const std::map<std::string, std::string> architectures{
        {"llama", "LlamaForCausalLM"}, {"mistral", "MistralForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"}};
    json out{{"architectures", {architectures.at(c.model_type)}},
             {"model_type", c.model_type},
             {"num_hidden_layers", c.layers},
             {"hidden_size", c.hidden},
             {"intermediate_size", c.intermediate},
             {"num_attention_heads", c.heads},
             {"num_key_value_heads", c.kv_heads},
             {"head_dim", c.head_dim},
             {"vocab_size", c.vocab},
             {"max_position_embeddings", c.positions},
             {"rms_norm_eps", c.rms_eps},
             {"rope_theta", c.rope_theta},
             {"hidden_act", "silu"},
             {"tie_word_embeddings", c.tied},
             {"torch_dtype", dtype},
             {"use_cache", true}};
    if (c.model_type == "llama") out["attention_bias"] = c.o_bias, out["mlp_bias"] = c.mlp_bias;
    if (c.model_type == "mistral") out["sliding_window"] = nullptr;
    const RopeScaling& s = c.rope_scaling;
    out["rope_scaling"] = nullptr;
    if (s.kind == RopeScaling::Kind::linear)
        out["rope_scaling"] = {{"rope_type", "linear"}, {"factor", s.factor}};
    if (s.kind == RopeScaling::Kind::dynamic)
        out["rope_scaling"] = {{"rope_type", "dynamic"}, {"factor", s.factor}};
    if (s.kind == RopeScaling::Kind::llama3)
        out["rope_scaling"] = {{"rope_type", "llama3"},
                               {"factor", s.factor},
                               {"low_freq_factor", s.low_freq_factor},
                               {"high_freq_factor", s.high_freq_factor},
                               {"original_max_position_embeddings", s.original_positions}};
    if (c.bos >= 0) out["bos_token_id"] = c.bos;
    if (c.pad >= 0) out["pad_token_id"] = c.pad;
    if (c.eos.size() == 1)
        out["eos_token_id"] = c.eos[0];
    else if (!c.eos.empty())
        out["eos_token_id"] = c.eos;
    return out.dump(2) + "\n";
}

ModelShapes llama_shapes(const LlamaConfig& c, const std::string& name, const LlamaNames& names) {
    ModelShapes shapes{"llama", name};
    shapes.layers = c.layers, shapes.hidden = c.hidden, shapes.intermediate = c.intermediate,
    shapes.heads = c.heads;
    shapes.kv_heads = c.kv_heads, shapes.head_dim = c.head_dim, shapes.vocab = c.vocab;
    auto add = [&](std::string key, std::vector<int64_t> shape, bool linear = false, bool head = false) {
        shapes.parameters.push_back({std::move(key), std::move(shape), linear, head, "language"});
    };
    auto linear = [&](const std::string& path, int64_t out, int64_t in, bool bias) {
        add(path + ".weight", {out, in}, true);
        if (bias) add(path + ".bias", {out});
    };
    add(names.body + "embed_tokens.weight", {c.vocab, c.hidden});
    const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    for (int64_t i = 0; i < c.layers; ++i) {
        const std::string layer = cat(names.body, "layers.", i, ".");
        linear(layer + "self_attn.q_proj", q, c.hidden, c.qkv_bias);
        linear(layer + "self_attn.k_proj", kv, c.hidden, c.qkv_bias);
        linear(layer + "self_attn.v_proj", kv, c.hidden, c.qkv_bias);
        linear(layer + "self_attn.o_proj", c.hidden, q, c.o_bias);
        linear(layer + "mlp.gate_proj", c.intermediate, c.hidden, c.mlp_bias);
        linear(layer + "mlp.up_proj", c.intermediate, c.hidden, c.mlp_bias);
        linear(layer + "mlp.down_proj", c.hidden, c.intermediate, c.mlp_bias);
        add(layer + "input_layernorm.weight", {c.hidden});
        add(layer + "post_attention_layernorm.weight", {c.hidden});
    }
    add(names.body + "norm.weight", {c.hidden});
    if (!c.tied) add(names.head + ".weight", {c.vocab, c.hidden}, true, true);
    return shapes;
}

} // namespace dorabench
