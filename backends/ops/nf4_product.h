#pragma once
// The product with an NF4 weight straight from its codes.
#include "backends/ops/nf4.h"

namespace dorabench {

// x W^T for x [rows, in] of the weight's dtype: no dequantised weight is written and read again. For the few
// rows of a decoding step, on the CPU and with our kernels on a GPU; undefined elsewhere, where one product
// with dense() is faster. Sums in float32. Records nothing.
at::Tensor nf4_product(const Nf4Weight& weight, const at::Tensor& x);

namespace ref {
at::Tensor nf4_product(const Nf4Weight& weight, const at::Tensor& x); // float64, of the values in its dtype
} // namespace ref

} // namespace dorabench
