#pragma once
// AdamW (Loshchilov and Hutter, arXiv:1711.05101) over many tensors in one call, in place, as
// torch.optim.AdamW computes it: p -= lr wd p; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr/(1-b1^t) m
// / (sqrt(v)/sqrt(1-b2^t) + eps). Each tensor is passed over once, without temporaries.
#include "backends/ops/aten.h"
#include <vector>

namespace dorabench {

struct AdamwOptions {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};

// step: how many updates these tensors have had, this one included (the first is 1). All lists have the same
// length and order; a parameter without a gradient is left out by the caller. params and moments are changed
// in place.
void adamw_step(const std::vector<at::Tensor>& params, const std::vector<at::Tensor>& grads,
                const std::vector<at::Tensor>& exp_avg, const std::vector<at::Tensor>& exp_avg_sq,
                const AdamwOptions& options, int64_t step);

} // namespace dorabench
