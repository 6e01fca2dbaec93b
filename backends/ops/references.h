#pragma once
// The equations of the operators as they stand in the papers, in plain ATen, without tricks: what tests
// compare with, in float64. Nothing else calls them.
#include "backends/ops/adamw.h"

namespace dorabench::ref {

// One tensor; returns the new values through its references.
void adamw_step(at::Tensor& param, const at::Tensor& grad, at::Tensor& exp_avg, at::Tensor& exp_avg_sq,
                const AdamwOptions& options, int64_t step);

} // namespace dorabench::ref
