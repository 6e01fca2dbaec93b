#pragma once
// NF4 on the CPU, from the codes: into a whole matrix, and into a product with few rows of x. A block's 16
// possible values are computed once and chosen by code, so that every element is table[code] * absmax in
// float32, rounded once to the result's type: the bits of ref::nf4_dequantise.
#include "backends/ops/nf4.h"

namespace dorabench {

// y contiguous, of weight.out * weight.in elements, float32, bfloat16, float16 or float64; in parallel.
void nf4_dequantise_cpu(const Nf4Weight& weight, at::Tensor& y);

// x W^T [rows, out] for x [rows, in] of the weight's type: W is decoded row by row into a buffer of one row a
// thread, never whole. Sums in float32. Only where nf4_few_rows says so.
at::Tensor nf4_product_cpu(const Nf4Weight& weight, const at::Tensor& x);
// Whether that is the faster way: few enough rows, rows that begin with a block.
bool nf4_few_rows(const Nf4Weight& weight, int64_t rows);

} // namespace dorabench
