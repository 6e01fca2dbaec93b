#include "backends/ops/references.h"
#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>

namespace dorabench::ref {

at::Tensor effective_weight(const AdaptedSite& site) {
    at::Tensor weight = site.weight;
    if (site.lambda_b.defined()) {
        weight =
            weight + at::mm(site.lambda_b.unsqueeze(1) * site.up, site.lambda_d.unsqueeze(1) * site.down);
    } else if (site.lora_A.defined()) {
        weight = weight + site.scaling * at::mm(site.lora_B, site.lora_A);
    }
    return weight;
}

at::Tensor row_norms(const at::Tensor& weight) { return (weight * weight).sum(1).sqrt(); }

at::Tensor adapted_linear(const AdaptedSite& site, const at::Tensor& x, const at::Tensor& mask) {
    const at::Tensor weight = effective_weight(site);
    const at::Tensor bias = site.bias.defined() ? site.bias : at::zeros({weight.size(0)}, weight.options());
    const at::Tensor kept = mask.defined() ? x * mask : x;
    if (!site.magnitude.defined())
        return at::linear(x, site.weight) + at::linear(kept, weight - site.weight) + bias;
    at::Tensor norm = row_norms(weight);
    if (!site.full_norm_grad) norm = norm.detach();
    const at::Tensor gain = site.magnitude / norm;
    if (site.form == DropoutForm::adapter)
        return gain * (at::linear(x, site.weight) + at::linear(kept, weight - site.weight)) + bias;
    return at::linear(x, site.weight) - at::linear(kept, site.weight) + gain * at::linear(kept, weight) +
           bias;
}

} // namespace dorabench::ref
