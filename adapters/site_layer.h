#pragma once
// One site's adapter: its trainable tensors, and what of them is prepared once an optimiser step (copies
// rounded to the base's dtype, row norms, gains) for the fused product of backends/ops/adapted_linear.h.
// Which tensors it has makes the method: A and B (LoRA), with a magnitude (DoRA), the magnitude alone, VeRA's
// vectors over shared projections, with a magnitude (DVoRA). lora.h and vera.h fill it.
#include "backends/ops/adapted_linear.h"
#include "backends/ops/linear_site.h"
#include <memory>
#include <string>
#include <vector>

namespace dorabench {

// What all layers of one AdapterSet share: the set's state.
struct AdapterClock {
    uint64_t version = 1; // of the trainable tensors; AdapterSet::changed() advances it
    bool training = false, enabled = true;
    uint64_t seed = 0;
    int64_t step = 0, micro_batch = 0;
};

// VeRA's frozen random pair, one for all layers, at the largest in and out.
struct Projections {
    at::Tensor A, B;           // float32, [r, max_in], [max_out, r]
    at::Tensor A_used, B_used; // in the base's dtype
};

struct LayerTensor {
    std::string name;  // "lora_A.weight"
    std::string group; // TrainableTensor::group
    at::Tensor tensor;
};

class SiteLayer final : public AdapterLayer {
public:
    // parts: the leaves, scaling, form, full_norm_grad and key.site; the rest is prepared here. dropout: p in
    // training.
    SiteLayer(std::shared_ptr<const AdapterClock> clock, AdaptedSite parts, double dropout,
              std::shared_ptr<const Projections> projections = nullptr);

    const AdaptedSite* adapted(const FrozenLinear& base) override;
    at::Tensor forward(const at::Tensor& x, const FrozenLinear& base) override;
    at::Tensor merged_weight(
        const FrozenLinear& base) const override; // from the float32 tensors, not their rounded copies

    std::vector<LayerTensor> tensors() const;  // trainable, in the order in which files name them
    at::Tensor norm(const FrozenLinear& base); // c of the present tensors, [out]; only with a magnitude
    int64_t dead_rows(const FrozenLinear& base);
    // B and lambda_b to zero (or A and B to the given start, which PiSSA's residual needs), the magnitude to
    // the norm.
    void reset_to_identity(const FrozenLinear& base, const at::Tensor& start_A, const at::Tensor& start_B);
    const AdaptedSite& parts() const { return site_; }

private:
    void follow_base(const FrozenLinear& base); // what depends on the frozen weight alone
    void prepare(const FrozenLinear& base);     // what depends on the trainable tensors
    void prepare_norm();

    std::shared_ptr<const AdapterClock> clock_;
    std::shared_ptr<const Projections> projections_;
    AdaptedSite site_, plain_; // plain_: the base alone
    double dropout_;
    uint64_t prepared_ = 0;
    const void* weight_data_ = nullptr; // which base the next two belong to
    int64_t weight_version_ = -1;
    at::Tensor w2_;    // rowsum(W^2), [out]
    at::Tensor cross_; // DVoRA: W A0^T, constant as long as W and A0 are
};

} // namespace dorabench
