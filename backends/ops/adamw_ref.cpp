#include "backends/ops/references.h"
#include <ATen/TensorOperators.h>
#include <cmath>

namespace dorabench::ref {

void adamw_step(at::Tensor& param, const at::Tensor& grad, at::Tensor& exp_avg, at::Tensor& exp_avg_sq,
                const AdamwOptions& o, int64_t step) {
    param = param * (1 - o.lr * o.weight_decay);
    exp_avg = o.beta1 * exp_avg + (1 - o.beta1) * grad;
    exp_avg_sq = o.beta2 * exp_avg_sq + (1 - o.beta2) * grad * grad;
    const double correction1 = 1 - std::pow(o.beta1, step), correction2 = 1 - std::pow(o.beta2, step);
    param = param - o.lr / correction1 * exp_avg / (exp_avg_sq.sqrt() / std::sqrt(correction2) + o.eps);
}

} // namespace dorabench::ref
