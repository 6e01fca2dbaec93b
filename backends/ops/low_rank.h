#pragma once
// z := g (z + s h B^T) + b on the CPU in float32, one pass over z.
#include <cstdint>

namespace dorabench {

constexpr int64_t kLowRankColumns = 64; // columns of z that one packed block of B serves

struct LowRank {
    const float* hidden; // h [T, r], rows `hidden_stride` apart
    int64_t hidden_stride;
    const float* packed; // B^T by blocks: [blocks, r, 64], the last block filled up with zeros
    int64_t out, rank;
    float scaling;
    const float *gain, *bias; // [out]; null: 1 and 0
};

// Rows [from, to) of z [T, out].
void low_rank_rows(float* z, const LowRank& p, int64_t from, int64_t to);

} // namespace dorabench
