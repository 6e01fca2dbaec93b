#pragma once
// x W^T + b of a weight that nobody trains, while nothing is recorded: evaluation. float32 on the CPU goes to
// oneDNN, which generates AVX-512 code on every maker's processors; MKL, behind at::linear, keeps to AVX2 on
// AMD's and reaches half of its speed (results/LOG.md, 2026-11-23). Everything else is at::linear.
#include "backends/ops/aten.h"

namespace dorabench {

// x [..., in], weight [out, in], bias [out] or undefined. Differentiable where gradients are recorded.
at::Tensor frozen_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

} // namespace dorabench
