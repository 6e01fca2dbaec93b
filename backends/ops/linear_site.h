#pragma once
// Where backbones and adapters meet. A backbone owns its LinearSites and calls forward; an adapter attaches
// at most one AdapterLayer to a site. Neither knows the other's kind.
//   base product: z = x W^T (+ bias, which no adapter scales);  W [out, in], x [..., in]
#include "backends/ops/nf4.h"
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace dorabench {

// The base weight of a site: dense in the backbone's dtype, or NF4 behind the same interface. Holds W and the
// bias; requires_grad is set only by full fine-tuning, which a packed weight doesn't allow.
class FrozenLinear {
public:
    FrozenLinear() = default;
    FrozenLinear(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}
    FrozenLinear(std::shared_ptr<const Nf4Weight> packed, at::Tensor bias)
        : packed_(std::move(packed)), bias_(std::move(bias)) {}
    int64_t out() const { return packed_ ? packed_->out : weight_.size(0); }
    int64_t in() const { return packed_ ? packed_->in : weight_.size(1); }
    at::ScalarType dtype() const { return packed_ ? packed_->dtype : weight_.scalar_type(); } // as multiplied
    at::Device device() const { return packed_ ? packed_->device() : weight_.device(); }
    const at::Tensor& weight() const { return weight_; } // [out, in]; undefined where the weight is packed
    const std::shared_ptr<const Nf4Weight>& packed() const { return packed_; } // null: dense
    // [out, in]; of a packed weight the shared buffer, which the next packed weight overwrites.
    at::Tensor dense() const { return packed_ ? packed_->dense() : weight_; }
    const at::Tensor& bias() const { return bias_; } // [out] or undefined
    at::Tensor product(const at::Tensor& x) const;   // x W^T, without the bias; differentiable
private:
    std::shared_ptr<const Nf4Weight> packed_;
    at::Tensor weight_, bias_;
};

// One site's adapter. Owns its trainable tensors; decides itself how it calls the base product.
struct AdaptedSite; // adapted_linear.h
class AdapterLayer {
public:
    virtual ~AdapterLayer() = default;
    // This layer as the fused product of adapted_linear.h knows it, ready for one forward pass, so that
    // forward_shared can run several over one x together; null: the layer is called on its own.
    virtual const AdaptedSite* adapted(const FrozenLinear& /*base*/) { return nullptr; }
    virtual at::Tensor forward(const at::Tensor& x,
                               const FrozenLinear& base) = 0; // [..., in] -> [..., out], bias included
    virtual at::Tensor merged_weight(const FrozenLinear& base) const = 0; // float32 [out, in]
};

class LinearSite {
public:
    LinearSite(std::string path, FrozenLinear base) : path_(std::move(path)), base_(std::move(base)) {}
    const std::string& path() const { return path_; } // "model.layers.3.self_attn.q_proj"
    const FrozenLinear& base() const { return base_; }
    at::Tensor forward(const at::Tensor& x) const;
    void attach(std::shared_ptr<AdapterLayer> layer) { layer_ = std::move(layer); }
    void detach() { layer_.reset(); }
    const std::shared_ptr<AdapterLayer>& layer() const { return layer_; }

private:
    std::string path_;
    FrozenLinear base_;
    std::shared_ptr<AdapterLayer> layer_;
};

// Several sites that read the same x (q, k, v; gate, up): one call, so that what can be shared (one
// concatenated product, VeRA's x A0^T) is shared. Returns the outputs in the sites' order.
std::vector<at::Tensor> forward_shared(std::span<LinearSite* const> sites, const at::Tensor& x);

} // namespace dorabench
