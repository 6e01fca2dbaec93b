#include "backends/ops/linear_site.h"

namespace dorabench {

at::Tensor FrozenLinear::product(const at::Tensor& x) const {
    TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in(), "[linear] x must be [..., in=", in(), "], got ",
                x.sizes());
    return at::linear(x, weight_);
}

at::Tensor LinearSite::forward(const at::Tensor& x) const {
    if (layer_) return layer_->forward(x, base_);
    TORCH_CHECK(x.dim() >= 1 && x.size(-1) == base_.in(), "[linear] ", path_,
                ": x must be [..., in=", base_.in(), "], got ", x.sizes());
    return at::linear(x, base_.weight(), base_.bias());
}

std::vector<at::Tensor> forward_shared(std::span<LinearSite* const> sites, const at::Tensor& x) {
    std::vector<at::Tensor> outputs;
    outputs.reserve(sites.size());
    for (const LinearSite* site : sites) outputs.push_back(site->forward(x));
    return outputs;
}

} // namespace dorabench
