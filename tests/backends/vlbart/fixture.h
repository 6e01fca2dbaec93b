#pragma once
// A small VL-BART that stands alone: its configuration, its weights drawn and changed before they are
// written.
#include "backends/ops/tensor_io.h"
#include "backends/vlbart/vlbart.h"
#include "backends/vlbart/weights.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <nlohmann/json.hpp>

namespace dorabench::test {

inline nlohmann::json small_bart_json(bool visual) {
    nlohmann::json config{{"model_type", "bart"},
                          {"d_model", 32},
                          {"encoder_layers", 2},
                          {"decoder_layers", 2},
                          {"encoder_attention_heads", 4},
                          {"decoder_attention_heads", 2},
                          {"encoder_ffn_dim", 48},
                          {"decoder_ffn_dim", 40},
                          {"vocab_size", 90},
                          {"max_position_embeddings", 24},
                          {"bos_token_id", 0},
                          {"pad_token_id", 1},
                          {"eos_token_id", 2},
                          {"decoder_start_token_id", 2}};
    if (visual) config.update({{"feat_dim", 12}, {"n_boxes", 4}, {"n_images", 2}, {"downsample", true}});
    return config;
}

using Change = std::function<void(Weights&)>;

// Writes config and weights into dir; the weights are those of `config`, changed.
inline void write_bart(const TempDir& dir, const nlohmann::json& config, const Change& change = {}) {
    write_file_atomic(dir / "config.json", config.dump());
    const BartConfig parsed = parse_bart_config(config.dump(), "test");
    BartWeights drawn = random_bart_weights(1, parsed, {});
    Weights weights = drawn.tensors;
    for (auto& [name, tensor] : weights) // larger than an initialisation, so that outputs differ
        if (tensor.dim() > 1) tensor = tensor * 10;
    weights["final_logits_bias"] = (at::arange(parsed.vocab, at::kFloat) * 0.01).unsqueeze(0);
    if (change) change(weights);
    std::vector<NamedTensor> tensors;
    for (auto& [name, tensor] : weights) tensors.push_back({name, tensor});
    write_tensors(dir / "model.safetensors", tensors);
}

inline std::unique_ptr<VlbartBackend> open_bart(const TempDir& dir, const std::string& visual = "",
                                                uint64_t seed = 0, const std::string& dtype = "float32") {
    BackendSettings settings;
    settings.checkpoint = dir.path(), settings.device = "cpu", settings.dtype = dtype;
    if (!visual.empty()) settings.options["visual"] = visual;
    return std::make_unique<VlbartBackend>(settings, seed);
}

// A features file with `rows` rows; returns its path.
inline std::string write_features(const TempDir& dir, const std::string& name, int64_t rows, int64_t width,
                                  uint64_t seed = 3) {
    at::Tensor feats = at::empty({rows, width}, at::kFloat);
    fill_normal(feats, seed, 1.0);
    write_tensors(dir / name, {{"feats", feats}, {"boxes", feats.narrow(1, 0, 4).sigmoid().contiguous()}});
    return dir / name;
}

inline double worst(const at::Tensor& a, const at::Tensor& b) {
    return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

} // namespace dorabench::test
