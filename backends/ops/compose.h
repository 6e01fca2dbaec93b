#pragma once
// The element-wise passes of an adapted linear. T rows of tokens, `out` columns; gains and sums are float32
// (float64 for float64 operands) whatever the activations' dtype. Each is one pass over memory on the CPU.
#include "backends/ops/aten.h"

namespace dorabench {

at::ScalarType accumulate_type(at::ScalarType type); // float64 for float64, otherwise float32

// z := g z + b in place. z [T, out] contiguous, g [out] (undefined: 1), b [out] (undefined: 0).
void compose_(at::Tensor& z, const at::Tensor& gain, const at::Tensor& bias);

// z := g (z + s h B^T) + b in place: one pass over z where the rank is small, which is then all that DoRA's
// gain costs beside LoRA. h [T, r], B [out, r] of z's type.
void low_rank_compose_(at::Tensor& z, const at::Tensor& hidden, const at::Tensor& up, double scaling,
                       const at::Tensor& gain, const at::Tensor& bias);

// Returns sum_t dy (y - b), [out]; writes dz = dy g into dz [T, out] (contiguous; it may be dy) where it is
// defined.
// dy, y [T, out]; b undefined: 0.
at::Tensor scale_and_reduce(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& gain,
                            const at::Tensor& bias, at::Tensor& dz);

} // namespace dorabench
