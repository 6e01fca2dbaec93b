#pragma once
// Rotary positions (arXiv:2104.09864) in the rotate-half layout of Hugging Face checkpoints: the pair (i, i +
// D/2) of a head turns by position * inv_freq[i]. Cosine and sine are rounded to x's dtype and so is every
// product, as the reference code does.
#include "backends/ops/aten.h"

namespace dorabench {

struct RopeTable { // float32 [P, D/2] each, row p for position p, scaling included
    at::Tensor cos, sin;
};

// inv_freq float32 [D/2] -> the table of positions 0 … positions-1; scale multiplies both (1 except for
// exotic scalings).
RopeTable make_rope_table(const at::Tensor& inv_freq, int64_t positions, double scale = 1);

// x [N, H, D] (rows may be strided), positions int64 [N] -> [N, H, D] contiguous; differentiable in x.
at::Tensor rope(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions);
at::Tensor rope_ref(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions);

} // namespace dorabench
