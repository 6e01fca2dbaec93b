#pragma once
// RMSNorm (arXiv:1910.07467) with the rounding order of LLaMA's reference code: normalised in float32,
// rounded to x's dtype, then scaled:  y = weight * round(x / sqrt(mean(x^2) + eps)).
#include "backends/ops/aten.h"

namespace dorabench {

// x [..., C], weight [C] of x's dtype -> [..., C]; differentiable in both. Saves x and one number a row.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
// The equation in ATen, any dtype and device.
at::Tensor rms_norm_ref(const at::Tensor& x, const at::Tensor& weight, double eps);

} // namespace dorabench
