#pragma once
// The equations of the operators as they stand in the papers, in plain ATen, without tricks: what tests
// compare with, in float64, and benchmarks with, as the materialised form. Nothing else calls them.
#include "backends/ops/adamw.h"
#include "backends/ops/adapted_linear.h"

namespace dorabench::ref {

// One tensor; returns the new values through its references.
void adamw_step(at::Tensor& param, const at::Tensor& grad, at::Tensor& exp_avg, at::Tensor& exp_avg_sq,
                const AdamwOptions& options, int64_t step);

// W + s B A, or W + diag(lambda_b) B diag(lambda_d) A, materialised; differentiable in the site's leaves.
at::Tensor effective_weight(const AdaptedSite& site);
// ||V_i||, [out]
at::Tensor row_norms(const at::Tensor& weight);
// The layer with a materialised weight, by autograd; mask: the scaled dropout mask on x, undefined for none.
// Reads the leaves, down and up for VeRA, scaling, form and full_norm_grad; not norm, gain and what else is
// prepared.
at::Tensor adapted_linear(const AdaptedSite& site, const at::Tensor& x, const at::Tensor& mask = {});

} // namespace dorabench::ref
