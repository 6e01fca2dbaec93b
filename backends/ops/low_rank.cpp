#include "backends/ops/low_rank.h"
#include "backends/ops/compose_math.h"
#include <algorithm>

namespace dorabench {
namespace {

constexpr int64_t kLanes = 16, kVectors = kLowRankColumns / kLanes;
constexpr int64_t kRows = 6;   // with four vectors of columns: 24 sums and their factors fill 32 registers
constexpr int64_t kChunk = 16; // blocks whose B stays in the cache while all rows pass

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

typedef float Unaligned __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

// R rows of one block; `width` of its columns exist.
template <int64_t R>
DORABENCH_HOST_DEVICE void tile(float* z, const LowRank& p, int64_t row, int64_t block) {
    Lanes sum[R][kVectors] = {};
    const float* b = p.packed + block * p.rank * kLowRankColumns;
    const float* h = p.hidden + row * p.hidden_stride;
    for (int64_t k = 0; k < p.rank; ++k, b += kLowRankColumns)
        for (int64_t c = 0; c < kVectors; ++c) {
            const Lanes factor = *reinterpret_cast<const Unaligned*>(b + c * kLanes);
            for (int64_t i = 0; i < R; ++i) sum[i][c] += h[i * p.hidden_stride + k] * factor;
        }
    const int64_t column = block * kLowRankColumns, width = std::min(kLowRankColumns, p.out - column);
    for (int64_t i = 0; i < R; ++i) {
        float* to = z + (row + i) * p.out + column;
        if (width == kLowRankColumns) {
            for (int64_t c = 0; c < kVectors; ++c) {
                const int64_t j = column + c * kLanes;
                Unaligned& value = *reinterpret_cast<Unaligned*>(to + c * kLanes);
                Lanes sum_here = value + p.scaling * sum[i][c];
                if (p.gain) sum_here *= *reinterpret_cast<const Unaligned*>(p.gain + j);
                if (p.bias) sum_here += *reinterpret_cast<const Unaligned*>(p.bias + j);
                value = sum_here;
            }
        } else {
            for (int64_t j = 0; j < width; ++j) {
                float value = to[j] + p.scaling * sum[i][j / kLanes][j % kLanes];
                if (p.gain) value *= p.gain[column + j];
                if (p.bias) value += p.bias[column + j];
                to[j] = value;
            }
        }
    }
}

DORABENCH_CLONES void rows_of(float* z, const LowRank& p, int64_t from, int64_t to) {
    const int64_t blocks = (p.out + kLowRankColumns - 1) / kLowRankColumns;
    for (int64_t first = 0; first < blocks; first += kChunk) {
        const int64_t last = std::min(blocks, first + kChunk);
        int64_t row = from;
        for (; row + kRows <= to; row += kRows)
            for (int64_t block = first; block < last; ++block) tile<kRows>(z, p, row, block);
        for (; row < to; ++row)
            for (int64_t block = first; block < last; ++block) tile<1>(z, p, row, block);
    }
}

} // namespace

void low_rank_rows(float* z, const LowRank& p, int64_t from, int64_t to) { rows_of(z, p, from, to); }

} // namespace dorabench
