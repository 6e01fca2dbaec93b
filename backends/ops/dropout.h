#pragma once
// Dropout whose masks are a pure function of (seed, step, micro-batch, site, element): drawn again in
// backward and in a checkpoint's recompute instead of being stored. Element i of a tensor in row-major order
// takes word i mod 4 of the Philox-4x32-10 block i div 4 and is kept where the word is below 2^32 (1 - p);
// kept elements are divided by 1 - p.
#include "backends/ops/aten.h"

namespace dorabench {

struct DropoutKey {
    uint64_t seed = 0;
    int64_t step = 0, micro_batch = 0;
    uint32_t site = 0; // number of the site within its model
};

// x := D x in place, D the scaled mask. x contiguous; 0 <= p < 1.
void dropout_(at::Tensor& x, double p, const DropoutKey& key);
// D x in a new tensor.
at::Tensor dropped(const at::Tensor& x, double p, const DropoutKey& key);

} // namespace dorabench
