#pragma once
// The LLaMA decoder over packed tokens [N, …]: no batch dimension and no padding; what a token attends to is
// the caller's affair.
//   h = x + o(attention(rope(q(n1)), rope(k(n1)), v(n1))),  n1 = rms_norm(x);   y = h + down(silu(gate(n2)) *
//   up(n2)),  n2 = rms_norm(h)
// Every linear weight is a LinearSite, so that adapters can attach.
#include "backends/llama/config.h"
#include "backends/nn/attention.h"
#include "backends/nn/frozen_linear.h"
#include "backends/ops/linear_site.h"
#include "backends/ops/rope.h"
#include <functional>
#include <memory>

namespace dorabench {

// q [N, H, D], k and v [N, Hkv, D], rotated -> [N, H * D]
using Attend =
    std::function<at::Tensor(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;

// Inference: the tokens that the last layer is computed for where few are read, and what their queries see.
// attend gets q of these tokens, but k and v of all.
struct LastRows {
    at::Tensor index; // int64 [R], on the model's device
    Attend attend;
};

class LlamaModel {
public:
    // weights: by the names of llama_shapes(), all on one device and of one dtype
    LlamaModel(const LlamaConfig& config, const Weights& weights, bool math_attention, LlamaNames names = {},
               const PackedWeights& packed = {}); // packed: linear weights in NF4, absent from `weights`

    const LlamaConfig& config() const { return config_; }
    at::Device device() const { return embedding_.device(); }
    at::ScalarType dtype() const { return embedding_.scalar_type(); }
    std::vector<LinearSite*> sites();      // in checkpoint order, the output layer last (absent when tied)
    std::vector<NamedTensor> parameters(); // without packed weights, which are no parameters to train or copy

    at::Tensor embed(const at::Tensor& ids) const; // [N] -> [N, C]
    // All layers without the last norm; longest: one more than the greatest position. states: each layer's
    // input, for tests. last: [R, C] comes back, for its tokens alone.
    at::Tensor forward(at::Tensor x, const at::Tensor& positions, int64_t longest, const Attend& attend,
                       std::vector<at::Tensor>* states = nullptr, const LastRows* last = nullptr);
    // Where LastRows spares work without another rounding in the reference's form or in short dtypes.
    bool trims_last_layer() const { return !math_ && device().is_cpu() && dtype() == at::kFloat; }
    // forward() with causal attention within each row.
    at::Tensor forward_rows(const at::Tensor& x, const at::Tensor& positions, std::vector<PackedRow> rows,
                            std::vector<at::Tensor>* states = nullptr);
    at::Tensor final_norm(const at::Tensor& x) const;
    at::Tensor logits(const at::Tensor& x); // last norm and output layer: [n, C] -> [n, V] float32
    // Sum of scale[n] * -log p(labels[n]) over places with labels >= 0; labels int64 [N] are shifted already;
    // scale float32 [N] or undefined.
    at::Tensor loss(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& scale);

    void set_training(bool on) { training_ = on; }
    void set_gradient_checkpointing(bool on) { checkpointing_ = on; }
    bool math_attention() const { return math_; }
    at::Tensor inv_freq() const { return inv_freq_; } // float32 [D/2], scaling included

private:
    struct Layer {
        at::Tensor input_norm, post_norm;
        std::unique_ptr<LinearSite> q, k, v, o, gate, up, down;
    };
    at::Tensor layer_forward(int64_t index, const at::Tensor& x, const at::Tensor& positions,
                             const Attend& attend);
    at::Tensor last_layer(const at::Tensor& x, const at::Tensor& positions, const LastRows& last);
    at::Tensor behind_attention(Layer& layer, const at::Tensor& x, const at::Tensor& attended);
    void need_positions(int64_t count);

    LlamaConfig config_;
    LlamaNames names_;
    at::Tensor embedding_, norm_, inv_freq_;
    std::vector<Layer> layers_;
    std::unique_ptr<LinearSite> head_; // null: tied
    RopeTable table_;
    bool math_ = false, training_ = false, checkpointing_ = false;
};

// Rotary frequencies, float32 [D/2] on the CPU, with linear or llama3 scaling. (Dynamic scaling begins behind
// max_position_embeddings, where this program cuts, and so changes nothing here.)
at::Tensor rope_frequencies(const LlamaConfig& config);

} // namespace dorabench
