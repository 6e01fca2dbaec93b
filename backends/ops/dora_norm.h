#pragma once
// The row norms of an adapted weight, c_i = ||(W + s B A)_i||, one value per output row, over `in` (what
// arXiv:2402.09353 calls the column norm, its W being [in, out]). By the factored form
//   c^2 = w2 + 2 s rowsum(U * B) + s^2 rowsum((B G) * B),  w2 = rowsum(W^2),  U = W A^T [out, r],  G = A A^T
//   [r, r]
// so that neither B A nor a second copy of W is ever built: w2 belongs to the frozen weight and is taken
// once, U changes with A alone, i.e. once an optimiser step. Rows where the terms cancel (c^2 below a
// hundredth of their sum, where rounding of U would show) are taken from the materialised row instead. c^2 is
// clamped at 0.
#include "backends/ops/aten.h"

namespace dorabench {

inline constexpr double kNormFloor = 1e-12; // the least norm that a magnitude is divided by

// rowsum(W^2), [out], float64, summed in float64 without a wider copy of W. W [out, in] of any floating type.
at::Tensor squared_row_norms(const at::Tensor& weight);

// W A^T, [out, r], float32 (float64 for a float64 W); a 16-bit W is widened a few rows at a time. A [r, in]
// any float type.
at::Tensor weight_times_down(const at::Tensor& weight, const at::Tensor& down);

struct NormTerms {
    at::Tensor norm;  // c, [out], float32 (float64 for a float64 W)
    at::Tensor cross; // U, [out, r], likewise
    at::Tensor gram;  // G, [r, r]
};

// down A [r, in] and up B [out, r] as the products use them (so rounded to 16 bit where they are). cross: U
// where the caller has it, else undefined.
NormTerms dora_norm(const at::Tensor& weight, const at::Tensor& w2, const at::Tensor& down,
                    const at::Tensor& up, double scaling, at::Tensor cross = {});

// m / max(c, kNormFloor): a row of norm 0 keeps gain 0 when its magnitude is 0, and never gives NaN.
at::Tensor dora_gain(const at::Tensor& magnitude, const at::Tensor& norm);

} // namespace dorabench
