#pragma once
// The dense matrix products of training and evaluation. float32 on the CPU goes to oneDNN, which generates
// AVX-512 code on every maker's processors and reads either operand in either order; MKL, behind at::mm and
// at::linear, keeps to AVX2 on AMD's and reaches less than half of its speed (results/LOG.md, 2026-11-23).
// Everything else is at::mm and at::linear.
#include "backends/ops/aten.h"

namespace dorabench {

// a b^T: a [m, k], b [n, k], of one type -> [m, n] in that type, or in `type` (on a GPU float32 comes from
// the accumulators of 16-bit factors, unrounded). Records nothing: for the inside of ops with backwards of
// their own. Fastest with the smaller of m and n on the side of a.
at::Tensor product_nt(const at::Tensor& a, const at::Tensor& b);
at::Tensor product_nt(const at::Tensor& a, const at::Tensor& b, at::ScalarType type);

// x W^T + b: x [..., in], weight [out, in], bias [out] or undefined -> [..., out]. Differentiable in all
// three.
at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

} // namespace dorabench
