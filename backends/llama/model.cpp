#include "backends/llama/model.h"
#include "backends/nn/checkpointing.h"
#include "backends/ops/linear_cross_entropy.h"
#include "backends/ops/product.h"
#include "backends/ops/rms_norm.h"
#include "backends/ops/swiglu.h"
#include "harness/base/error.h"
#include <ATen/ops/embedding.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/reciprocal.h>
#include <array>
#include <cmath>
#include <numbers>

namespace dorabench {

at::Tensor rope_frequencies(const LlamaConfig& c) {
    // float32 throughout, as the reference code computes them
    at::Tensor exponent =
        at::arange(0, c.head_dim, 2, at::kLong).to(at::kFloat) / static_cast<double>(c.head_dim);
    at::Tensor inv_freq = at::reciprocal(at::pow(at::Scalar(c.rope_theta), exponent));
    const RopeScaling& s = c.rope_scaling;
    if (s.kind == RopeScaling::Kind::linear) return inv_freq / s.factor;
    if (s.kind != RopeScaling::Kind::llama3) return inv_freq;
    // long waves are slowed by the factor, short ones kept, those between blended
    const double long_wave = static_cast<double>(s.original_positions) / s.low_freq_factor;
    const double short_wave = static_cast<double>(s.original_positions) / s.high_freq_factor;
    at::Tensor wave = 2 * std::numbers::pi / inv_freq;
    at::Tensor slow = at::where(wave > long_wave, inv_freq / s.factor, inv_freq);
    at::Tensor smooth = (static_cast<double>(s.original_positions) / wave - s.low_freq_factor) /
                        (s.high_freq_factor - s.low_freq_factor);
    at::Tensor blend = (1 - smooth) * slow / s.factor + smooth * slow;
    return at::where((wave >= short_wave).logical_and(wave <= long_wave), blend, slow);
}

LlamaModel::LlamaModel(const LlamaConfig& config, const Weights& weights, bool math_attention,
                       LlamaNames names, const PackedWeights& packed)
    : config_(config), names_(std::move(names)), math_(math_attention) {
    auto tensor = [&](const std::string& name) -> const at::Tensor& {
        auto at = weights.find(name);
        if (at == weights.end()) throw Error::internal("llama: weight ", name, " was not loaded");
        return at->second;
    };
    auto site = [&](const std::string& path, bool bias) {
        return std::make_unique<LinearSite>(path, frozen_linear(weights, packed, path, bias));
    };
    embedding_ = tensor(names_.body + "embed_tokens.weight");
    for (int64_t i = 0; i < config.layers; ++i) {
        const std::string at = cat(names_.body, "layers.", i, ".");
        Layer layer;
        layer.q = site(at + "self_attn.q_proj", config.qkv_bias);
        layer.k = site(at + "self_attn.k_proj", config.qkv_bias);
        layer.v = site(at + "self_attn.v_proj", config.qkv_bias);
        layer.o = site(at + "self_attn.o_proj", config.o_bias);
        layer.gate = site(at + "mlp.gate_proj", config.mlp_bias);
        layer.up = site(at + "mlp.up_proj", config.mlp_bias);
        layer.down = site(at + "mlp.down_proj", config.mlp_bias);
        layer.input_norm = tensor(at + "input_layernorm.weight");
        layer.post_norm = tensor(at + "post_attention_layernorm.weight");
        layers_.push_back(std::move(layer));
    }
    norm_ = tensor(names_.body + "norm.weight");
    if (!config.tied) head_ = site(names_.head, false);
    inv_freq_ = rope_frequencies(config).to(device());
    need_positions(std::min<int64_t>(config.positions, 512));
}

std::vector<LinearSite*> LlamaModel::sites() {
    std::vector<LinearSite*> out;
    for (Layer& l : layers_)
        for (auto* site : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) out.push_back(site->get());
    if (head_) out.push_back(head_.get());
    return out;
}

std::vector<NamedTensor> LlamaModel::parameters() {
    std::vector<NamedTensor> out{{names_.body + "embed_tokens.weight", embedding_}};
    auto add = [&](const LinearSite& site) {
        if (!site.base().packed()) out.push_back({site.path() + ".weight", site.base().weight()});
        if (site.base().bias().defined()) out.push_back({site.path() + ".bias", site.base().bias()});
    };
    for (size_t i = 0; i < layers_.size(); ++i) {
        Layer& l = layers_[i];
        for (auto* site : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) add(**site);
        out.push_back({cat(names_.body, "layers.", i, ".input_layernorm.weight"), l.input_norm});
        out.push_back({cat(names_.body, "layers.", i, ".post_attention_layernorm.weight"), l.post_norm});
    }
    out.push_back({names_.body + "norm.weight", norm_});
    if (head_) add(*head_);
    return out;
}

void LlamaModel::need_positions(int64_t count) {
    const int64_t have = table_.cos.defined() ? table_.cos.size(0) : 0;
    if (count <= have) return;
    at::NoGradGuard no_grad;
    table_ = make_rope_table(inv_freq_, std::max(count, 2 * have));
}

at::Tensor LlamaModel::embed(const at::Tensor& ids) const { return at::embedding(embedding_, ids); }

at::Tensor LlamaModel::layer_forward(int64_t index, const at::Tensor& x, const at::Tensor& positions,
                                     const Attend& attend) {
    Layer& l = layers_[index];
    const int64_t n = x.size(0), d = config_.head_dim;
    const std::array<LinearSite*, 3> qkv{l.q.get(), l.k.get(), l.v.get()};
    auto projected = forward_shared(qkv, rms_norm(x, l.input_norm, config_.rms_eps));
    at::Tensor q = rope(projected[0].view({n, config_.heads, d}), table_, positions);
    at::Tensor k = rope(projected[1].view({n, config_.kv_heads, d}), table_, positions);
    return behind_attention(l, x, attend(index, q, k, projected[2].view({n, config_.kv_heads, d})));
}

at::Tensor LlamaModel::last_layer(const at::Tensor& x, const at::Tensor& positions, const LastRows& last) {
    Layer& l = layers_.back();
    const int64_t n = x.size(0), kept = last.index.size(0), d = config_.head_dim;
    const std::array<LinearSite*, 2> kv{l.k.get(), l.v.get()};
    const at::Tensor normed = rms_norm(x, l.input_norm, config_.rms_eps);
    auto projected = forward_shared(kv, normed);
    at::Tensor k = rope(projected[0].view({n, config_.kv_heads, d}), table_, positions);
    at::Tensor q = rope(l.q->forward(normed.index_select(0, last.index)).view({kept, config_.heads, d}),
                        table_, positions.index_select(0, last.index));
    return behind_attention(
        l, x.index_select(0, last.index),
        last.attend(config_.layers - 1, q, k, projected[1].view({n, config_.kv_heads, d})));
}

at::Tensor LlamaModel::behind_attention(Layer& l, const at::Tensor& x, const at::Tensor& attended) {
    const std::array<LinearSite*, 2> gate_up{l.gate.get(), l.up.get()};
    at::Tensor h = x + l.o->forward(attended);
    auto wide = forward_shared(gate_up, rms_norm(h, l.post_norm, config_.rms_eps));
    return h + l.down->forward(swiglu(wide[0], wide[1]));
}

at::Tensor LlamaModel::forward(at::Tensor x, const at::Tensor& positions, int64_t longest,
                               const Attend& attend, std::vector<at::Tensor>* states, const LastRows* last) {
    need_positions(longest);
    const bool checkpoint = checkpointing_ && training_ && at::GradMode::is_enabled();
    if (checkpoint && !x.requires_grad())
        x = x.detach().requires_grad_(true); // or the first layer would not be recorded
    for (int64_t i = 0; i < config_.layers; ++i) {
        if (states) states->push_back(x);
        if (checkpoint)
            x = checkpointed([this, i, positions,
                              attend](const at::Tensor& h) { return layer_forward(i, h, positions, attend); },
                             x);
        else if (last && i + 1 == config_.layers)
            x = last_layer(x, positions, *last);
        else
            x = layer_forward(i, x, positions, attend);
    }
    return x;
}

at::Tensor LlamaModel::forward_rows(const at::Tensor& x, const at::Tensor& positions,
                                    std::vector<PackedRow> rows, std::vector<at::Tensor>* states) {
    int64_t longest = 1;
    for (const PackedRow& row : rows) longest = std::max(longest, row.end - row.begin);
    const bool math = math_;
    return forward(
        x, positions, longest,
        [rows = std::move(rows), math](int64_t, const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v) { return causal_attention(q, k, v, rows, math); },
        states);
}

at::Tensor LlamaModel::final_norm(const at::Tensor& x) const { return rms_norm(x, norm_, config_.rms_eps); }

at::Tensor LlamaModel::logits(const at::Tensor& x) {
    at::Tensor h = final_norm(x);
    return (head_ ? head_->forward(h) : linear_product(h, embedding_)).to(at::kFloat);
}

at::Tensor LlamaModel::loss(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& scale) {
    at::Tensor kept =
        (labels >= 0).nonzero().squeeze(1); // the other places need neither norm nor output layer
    const bool all = kept.size(0) == x.size(0);
    at::Tensor h = final_norm(all ? x : x.index_select(0, kept));
    CrossEntropyRows rows{all ? labels : labels.index_select(0, kept), at::Tensor()};
    if (scale.defined()) rows.scale = all ? scale : scale.index_select(0, kept);
    if (!head_ || !head_->layer())
        return linear_cross_entropy(h, head_ ? head_->base().weight() : embedding_, rows);
    at::Tensor logs =
        head_->forward(h).to(at::kFloat).log_softmax(-1); // an adapter on the output layer itself
    at::Tensor losses = -logs.gather(1, rows.labels.unsqueeze(1)).squeeze(1);
    return (rows.scale.defined() ? losses * rows.scale : losses).sum();
}

} // namespace dorabench
