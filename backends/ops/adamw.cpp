#include "backends/ops/adamw.h"
#include <ATen/ops/_fused_adamw.h>

namespace dorabench {

void adamw_step(const std::vector<at::Tensor>& params, const std::vector<at::Tensor>& grads,
                const std::vector<at::Tensor>& exp_avg, const std::vector<at::Tensor>& exp_avg_sq,
                const AdamwOptions& options, int64_t step) {
    TORCH_CHECK(grads.size() == params.size() && exp_avg.size() == params.size() &&
                    exp_avg_sq.size() == params.size(),
                "[adamw] params, grads and moments must be equally many, got ", params.size(), ", ",
                grads.size(), ", ", exp_avg.size(), " and ", exp_avg_sq.size());
    TORCH_CHECK(step >= 1, "[adamw] step counts from 1, got ", step);
    if (params.empty()) return;
    at::NoGradGuard no_grad;
    // The fused kernel reads one step counter a tensor; the counters may be one and the same, for it does not
    // write them.
    const at::Tensor counter =
        at::full({}, double(step), at::TensorOptions(at::kFloat).device(params[0].device()));
    const std::vector<at::Tensor> counters(params.size(), counter);
    at::_fused_adamw_(params, grads, exp_avg, exp_avg_sq, {}, counters, options.lr, options.beta1,
                      options.beta2, options.weight_decay, options.eps, /*amsgrad=*/false,
                      /*maximize=*/false);
}

} // namespace dorabench
