#pragma once
// W A^T for a wide W and a handful of rows in A, on the CPU: one pass over W at the speed of its
// multiplications, where a general product with so few columns reaches about half. Float32 accumulation in
// blocks.
#include "backends/ops/aten.h"

namespace dorabench {

// weight [out, in] contiguous float32 or bfloat16, down [r, in] -> float32 [out, r].
at::Tensor tall_product(const at::Tensor& weight, const at::Tensor& down);
bool suits_tall_product(const at::Tensor& weight, const at::Tensor& down);

} // namespace dorabench
