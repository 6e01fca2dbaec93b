#include "backends/ops/linear_site.h"
#include "backends/ops/adapted_linear.h"
#include "backends/ops/product.h"

namespace dorabench {
namespace {

// A packed weight's product as a node of its own, so that autograd keeps the codes and not the matrix.
at::Tensor packed_product(const FrozenLinear& base, const at::Tensor& bias, const at::Tensor& x) {
    AdaptedSite plain;
    plain.packed = base.packed();
    plain.bias = bias;
    const AdaptedSite* site = &plain;
    return adapted_linear({&site, 1}, x)[0];
}

} // namespace

at::Tensor FrozenLinear::product(const at::Tensor& x) const {
    TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in(), "[linear] x must be [..., in=", in(), "], got ",
                x.sizes());
    return packed_ ? packed_product(*this, {}, x) : linear_product(x, weight_);
}

at::Tensor LinearSite::forward(const at::Tensor& x) const {
    if (layer_) return layer_->forward(x, base_);
    TORCH_CHECK(x.dim() >= 1 && x.size(-1) == base_.in(), "[linear] ", path_,
                ": x must be [..., in=", base_.in(), "], got ", x.sizes());
    if (base_.packed()) return packed_product(base_, base_.bias(), x);
    return linear_product(x, base_.weight(), base_.bias());
}

std::vector<at::Tensor> forward_shared(std::span<LinearSite* const> sites, const at::Tensor& x) {
    // A site without an adapter may stand among adapted ones; where none is adapted, or one cannot be
    // described or is itself trained, every site goes on its own.
    std::vector<AdaptedSite> plain(sites.size());
    std::vector<const AdaptedSite*> described;
    size_t adapted = 0;
    for (size_t i = 0; i < sites.size(); ++i) {
        const FrozenLinear& base = sites[i]->base();
        const AdaptedSite* site = &plain[i];
        if (sites[i]->layer()) {
            site = sites[i]->layer()->adapted(base);
            if (site) ++adapted;
        } else {
            plain[i].weight = base.weight();
            plain[i].packed = base.packed();
            plain[i].bias = base.bias();
        }
        if (!site || (!base.packed() && base.weight().requires_grad())) break;
        described.push_back(site);
    }
    if (adapted > 0 && described.size() == sites.size()) return adapted_linear(described, x);
    std::vector<at::Tensor> outputs;
    outputs.reserve(sites.size());
    for (const LinearSite* site : sites) outputs.push_back(site->forward(x));
    return outputs;
}

} // namespace dorabench
