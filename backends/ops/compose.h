#pragma once
// The element-wise passes of an adapted linear. T rows of tokens, `out` columns; gains and sums are float32
// (float64 for float64 operands) whatever the activations' dtype. Each is one pass over memory on the CPU.
#include "backends/ops/aten.h"

namespace dorabench {

at::ScalarType accumulate_type(at::ScalarType type); // float64 for float64, otherwise float32

// z := g z + b in place. z [T, out] contiguous, g [out] (undefined: 1), b [out] (undefined: 0).
void compose_(at::Tensor& z, const at::Tensor& gain, const at::Tensor& bias);

// Returns sum_t dy (y - b), [out]; writes dz = dy g into dz [T, out] (contiguous) where it is defined.
// dy, y [T, out]; b undefined: 0.
at::Tensor scale_and_reduce(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& gain,
                            const at::Tensor& bias, at::Tensor& dz);

} // namespace dorabench
