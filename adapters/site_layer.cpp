#include "adapters/site_layer.h"
#include "backends/ops/compose.h"
#include "backends/ops/dora_norm.h"
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>

namespace dorabench {

SiteLayer::SiteLayer(std::shared_ptr<const AdapterClock> clock, AdaptedSite parts, double dropout,
                     std::shared_ptr<const Projections> projections)
    : clock_(std::move(clock)), projections_(std::move(projections)), site_(std::move(parts)),
      dropout_(dropout) {}

void SiteLayer::follow_base(const FrozenLinear& base) {
    if (base.packed()) { // never written to, so its identity is all that can change
        if (site_.packed == base.packed()) return;
        site_.weight = at::Tensor();
        weight_data_ = nullptr;
    } else {
        const at::Tensor& weight = base.weight();
        const int64_t version = weight.is_inference() ? 0 : int64_t(weight._version());
        if (weight.const_data_ptr() == weight_data_ && version == weight_version_) return;
        weight_data_ = weight.const_data_ptr();
        weight_version_ = version;
        site_.weight = weight;
    }
    site_.packed = base.packed();
    site_.bias = base.bias();
    w2_ = site_.magnitude.defined() ? squared_row_norms(base.dense()) : at::Tensor();
    cross_ = at::Tensor();
    prepared_ = 0;
}

void SiteLayer::prepare(const FrozenLinear& base) {
    follow_base(base);
    if (prepared_ == clock_->version) return;
    at::NoGradGuard no_grad;
    const auto type = base.dtype();
    if (site_.lora_A.defined()) {
        site_.down = site_.lora_A.detach().to(type);
        site_.up = site_.lora_B.detach().to(type);
    } else if (projections_) {
        const at::Tensor down = projections_->A_used.narrow(1, 0, base.in());
        if (!site_.down.defined() || down.const_data_ptr() != site_.down.const_data_ptr())
            cross_ = at::Tensor();
        site_.down = down;
        site_.up = projections_->B_used.narrow(0, 0, base.out());
    }
    if (site_.magnitude.defined()) prepare_norm();
    prepared_ = clock_->version;
}

void SiteLayer::prepare_norm() {
    if (!site_.down.defined()) {
        site_.norm = w2_.sqrt().to(accumulate_type(site_.dtype()));
    } else if (site_.lora_A.defined()) {
        const NormTerms terms = dora_norm(site_.dense(), w2_, site_.down, site_.up, site_.scaling);
        site_.norm = terms.norm;
        if (site_.full_norm_grad) site_.cross = terms.cross;
        if (site_.full_norm_grad) site_.gram = terms.gram;
    } else {
        if (!cross_.defined()) // kept for the whole run, so in the base's dtype
            cross_ = weight_times_down(site_.dense(), site_.down).to(site_.dtype());
        const auto type = accumulate_type(site_.dtype());
        const at::Tensor d = site_.lambda_d.detach().to(type), wide = cross_.to(type);
        const at::Tensor down = d.unsqueeze(1) * site_.down.to(type);
        const at::Tensor up = site_.lambda_b.detach().to(type).unsqueeze(1) * site_.up.to(type);
        site_.norm = dora_norm(site_.dense(), w2_, down, up, site_.scaling, wide * d).norm;
        if (site_.full_norm_grad) {
            site_.cross = wide;
            site_.gram = at::mm(site_.down.to(type), site_.down.to(type).t());
        }
    }
    site_.gain = dora_gain(site_.magnitude, site_.norm);
    site_.weak_rows = find_weak_rows(site_.gain, site_.bias.defined());
}

const AdaptedSite* SiteLayer::adapted(const FrozenLinear& base) {
    if (!clock_->enabled) {
        plain_.weight = base.weight();
        plain_.packed = base.packed();
        plain_.bias = base.bias();
        return &plain_;
    }
    prepare(base);
    site_.dropout = clock_->training ? dropout_ : 0;
    site_.key.seed = clock_->seed;
    site_.key.step = clock_->step;
    site_.key.micro_batch = clock_->micro_batch;
    return &site_;
}

at::Tensor SiteLayer::forward(const at::Tensor& x, const FrozenLinear& base) {
    const AdaptedSite* site = adapted(base);
    return adapted_linear({&site, 1}, x)[0];
}

at::Tensor SiteLayer::merged_weight(const FrozenLinear& base) const {
    at::NoGradGuard no_grad;
    const auto type = accumulate_type(base.dtype());
    at::Tensor merged = base.dense().detach().to(type, /*non_blocking=*/false, /*copy=*/true);
    if (site_.lora_A.defined()) {
        merged.addmm_(site_.lora_B.detach().to(type), site_.lora_A.detach().to(type), 1, site_.scaling);
    } else if (projections_) {
        const at::Tensor down =
            site_.lambda_d.detach().unsqueeze(1) * projections_->A.narrow(1, 0, base.in());
        const at::Tensor up = site_.lambda_b.detach().unsqueeze(1) * projections_->B.narrow(0, 0, base.out());
        merged.addmm_(up.to(type), down.to(type));
    }
    if (site_.magnitude.defined()) {
        const at::Tensor norm = squared_row_norms(merged).sqrt_().to(type);
        merged.mul_(dora_gain(site_.magnitude, norm).unsqueeze(1));
    }
    return merged;
}

std::vector<LayerTensor> SiteLayer::tensors() const {
    std::vector<LayerTensor> all = {{"lora_A.weight", "lora_A", site_.lora_A},
                                    {"lora_B.weight", "lora_B", site_.lora_B},
                                    {"vera_lambda_b", "vera_b", site_.lambda_b},
                                    {"vera_lambda_d", "vera_d", site_.lambda_d},
                                    {"lora_magnitude_vector", "magnitude", site_.magnitude}};
    std::erase_if(all, [](const LayerTensor& part) { return !part.tensor.defined(); });
    return all;
}

at::Tensor SiteLayer::norm(const FrozenLinear& base) {
    prepare(base);
    return site_.norm;
}

int64_t SiteLayer::dead_rows(const FrozenLinear& base) {
    if (!site_.magnitude.defined()) return 0;
    return (norm(base) <= kNormFloor).sum().item<int64_t>();
}

void SiteLayer::reset_to_identity(const FrozenLinear& base, const at::Tensor& start_A,
                                  const at::Tensor& start_B) {
    at::NoGradGuard no_grad;
    if (start_A.defined()) {
        site_.lora_A.copy_(start_A);
        site_.lora_B.copy_(start_B);
    } else if (site_.lora_B.defined()) {
        site_.lora_B.zero_();
    }
    if (site_.lambda_b.defined()) site_.lambda_b.zero_();
    prepared_ = 0;
    if (site_.magnitude.defined()) {
        site_.magnitude.copy_(norm(base));
        prepared_ = 0;
    }
}

} // namespace dorabench
