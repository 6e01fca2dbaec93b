// The launch geometry of the CUDA kernels as plain arithmetic, and the mathematics that they share with the
// CPU.
#include "backends/ops/cuda_geometry.h"
#include "backends/ops/kernel_math.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace dorabench {
namespace {

const void* address(uintptr_t at) { return reinterpret_cast<const void*>(at); }

TEST(CudaGeometry, VectorsAreWideOnlyWhereEveryRowStartsAligned) {
    using geometry::vector_width;
    EXPECT_EQ(vector_width(4096, 2, {address(256)}), 8);
    EXPECT_EQ(vector_width(4096, 4, {address(256)}), 4);
    EXPECT_EQ(vector_width(4097, 2, {address(256)}), 1) << "the second row would start off";
    EXPECT_EQ(vector_width(4096, 2, {address(256), address(258)}), 1);
    EXPECT_EQ(vector_width(4096, 2, {address(256), nullptr}), 8) << "an absent matrix is no hindrance";
    EXPECT_EQ(vector_width(4096, 2, {address(256)}, {12288, 4100}), 1);
    EXPECT_EQ(vector_width(4096, 2, {address(256)}, {12288}), 8);
    EXPECT_EQ(vector_width(4096, 16, {address(256)}), 1);
}

TEST(CudaGeometry, RowBlocksAreWholeWarpsWithinTheLimit) {
    for (int64_t n : {1, 5, 31, 32, 33, 1000, 4096, 32000, 128256})
        for (int width : {1, 4, 8}) {
            const int threads = geometry::row_threads(n, width, 512);
            EXPECT_EQ(threads % 32, 0);
            EXPECT_GE(threads, 32);
            EXPECT_LE(threads, 512);
            if (threads < 512) EXPECT_GE(int64_t(threads) * width, n) << n << " in one go";
        }
}

// Every element of [rows, columns] is visited once by the kernels' loop over a tile grid.
TEST(CudaGeometry, TileGridsCoverOddShapesOnce) {
    for (int64_t rows : {1, 7, 8, 9, 67, 1000})
        for (int64_t columns : {1, 5, 31, 33, 257, 264})
            for (int width : {1, 8}) {
                if (columns % width) continue;
                const geometry::Grid grid = geometry::tile_grid(rows, columns, width, 4);
                std::vector<int> seen(size_t(rows * columns), 0);
                for (int64_t bx = 0; bx < grid.x; ++bx)
                    for (int64_t by = 0; by < grid.y; ++by)
                        for (int64_t tx = 0; tx < geometry::kTileLanes; ++tx)
                            for (int64_t ty = 0; ty < geometry::kTileRows; ++ty) {
                                const int64_t column = (bx * geometry::kTileLanes + tx) * width;
                                if (column >= columns) continue;
                                for (int64_t row = by * geometry::kTileRows + ty; row < rows;
                                     row += int64_t(grid.y) * geometry::kTileRows)
                                    for (int64_t i = 0; i < width; ++i)
                                        ++seen[size_t(row * columns + column + i)];
                            }
                for (int count : seen) ASSERT_EQ(count, 1) << rows << " x " << columns << " by " << width;
            }
}

TEST(CudaGeometry, TileGridsStayWithinTheDevicesLimits) {
    const geometry::Grid grid = geometry::tile_grid(int64_t(1) << 40, 1, 1, int64_t(1) << 40);
    EXPECT_EQ(grid.y, geometry::kMaxGridY);
    EXPECT_EQ(geometry::flat_blocks(int64_t(1) << 40, 256), 132 * 16);
    EXPECT_EQ(geometry::flat_blocks(1, 256), 1);
}

TEST(CudaGeometry, ColumnSumsSplitRowsWithoutGapOrOverlap) {
    for (int64_t rows : {1, 31, 32, 33, 67, 4096, 4099, 100000, 1 << 22})
        for (int64_t columns : {1, 257, 4096, 11008}) {
            const geometry::ColumnSum split = geometry::column_sum(rows, columns, 8);
            EXPECT_GE(split.parts, 1);
            EXPECT_LE(split.parts, 1024) << "the grid's second dimension";
            EXPECT_EQ(split.rows_each % geometry::kTileRows, 0);
            EXPECT_LT(split.rows_each * (split.parts - 1), rows) << "no part is empty";
            EXPECT_GE(split.rows_each * split.parts, rows);
        }
    EXPECT_EQ(geometry::column_sum(0, 5, 8).parts, 0);
}

TEST(KernelMath, OnlineSoftmaxInAnySplitEqualsTwoPasses) {
    std::mt19937 from(3);
    std::normal_distribution<float> normal(0, 5);
    std::vector<float> row(1003);
    for (float& x : row) x = normal(from);
    row[0] = row[500] = -INFINITY; // masked logits
    double top = -INFINITY, sum = 0;
    for (float x : row) top = std::max<double>(top, x);
    for (float x : row) sum += std::exp(double(x) - top);
    for (size_t lanes : {1u, 3u, 32u, 1024u}) {
        std::vector<OnlineSoftmax> parts(lanes); // with 1024 lanes some stay empty
        for (size_t i = 0; i < row.size(); ++i) push(parts[i % lanes], row[i]);
        OnlineSoftmax all;
        for (const OnlineSoftmax& part : parts) all = merge(all, part);
        EXPECT_EQ(all.top, float(top));
        EXPECT_NEAR(all.sum, sum, 2e-6 * sum);
        const float want = float(std::log(sum) + top - row[7]);
        EXPECT_NEAR(cross_entropy_loss(all, row[7], 0.5f), 0.5f * want, 1e-5f);
        EXPECT_NEAR(cross_entropy_slope(row[7], true, all, 2.0f), 2 * (std::exp(row[7] - top) / sum - 1),
                    1e-5);
    }
}

TEST(KernelMath, OnlineSoftmaxKeepsNan) {
    OnlineSoftmax state, other;
    for (float x : {1.0f, NAN, 2.0f}) push(state, x);
    push(other, 3.0f);
    EXPECT_TRUE(std::isnan(state.sum));
    EXPECT_TRUE(std::isnan(merge(state, other).sum));
    EXPECT_TRUE(std::isnan(merge(other, state).sum));
}

TEST(KernelMath, NormOfARowIsThatOfTheMaterialisedRow) {
    std::mt19937 from(4);
    std::normal_distribution<float> normal;
    constexpr int in = 37, rank = 5;
    float w[in], a[rank][in], b[rank];
    for (float& x : w) x = normal(from);
    for (auto& row : a)
        for (float& x : row) x = normal(from);
    for (float& x : b) x = normal(from);
    for (double scaling : {0.1, 2.0}) {
        double w2 = 0, want = 0;
        for (int j = 0; j < in; ++j) {
            double v = w[j];
            for (int k = 0; k < rank; ++k) v += scaling * double(b[k]) * double(a[k][j]);
            want += v * v;
            w2 += double(w[j]) * double(w[j]);
        }
        NormParts parts;
        for (int k = 0; k < rank; ++k) {
            float u = 0, against = 0;
            for (int j = 0; j < in; ++j) u += w[j] * a[k][j];
            for (int l = 0; l < rank; ++l)
                for (int j = 0; j < in; ++j) against += b[l] * a[l][j] * a[k][j];
            norm_push(parts, u, b[k], against);
        }
        bool weak = true;
        EXPECT_NEAR(norm_square(w2, parts, scaling, weak), want, 1e-5 * want);
        EXPECT_FALSE(weak);
    }
    bool weak = false; // W + s B A = 0: w2 = 1, u.b = -1, (b G).b = 1 at s = 1
    EXPECT_EQ(norm_square(1.0, NormParts{-1.0, 1.0}, 1.0, weak), 0);
    EXPECT_TRUE(weak);
    norm_square(0.0, NormParts{}, 1.0, weak);
    EXPECT_FALSE(weak) << "a zero row is not recomputed";
}

TEST(KernelMath, RopePairTurnsAndTurnsBack) {
    float a = 0.3f, b = -1.7f;
    rope_pair(a, b, std::cos(0.7f), std::sin(0.7f), NoRounding{});
    EXPECT_NEAR(a, 0.3 * std::cos(0.7) + 1.7 * std::sin(0.7), 1e-6);
    rope_pair(a, b, std::cos(0.7f), -std::sin(0.7f), NoRounding{});
    EXPECT_NEAR(a, 0.3f, 1e-6);
    EXPECT_NEAR(b, -1.7f, 1e-6);
}

TEST(CudaGeometry, AnNf4ProductCoversEveryColumnAndRowOnce) {
    using namespace geometry;
    for (const int64_t rows : {1, 7, 8, 9, 32})
        for (const int64_t out : {1, 8, 9, 4096}) {
            const Grid grid = nf4_grid(rows, out);
            EXPECT_GE(grid.x * kNf4Columns, out);
            EXPECT_LT((grid.x - 1) * kNf4Columns, out);
            EXPECT_GE(int64_t(grid.y) * kNf4Rows, rows);
            EXPECT_LT(int64_t(grid.y - 1) * kNf4Rows, rows);
        }
    EXPECT_TRUE(nf4_fused(1, 4096, 64));
    EXPECT_FALSE(nf4_fused(0, 4096, 64));
    EXPECT_FALSE(nf4_fused(kNf4MostRows + 1, 4096, 64));
    EXPECT_FALSE(nf4_fused(1, 4100, 64)) << "a lane takes eight elements";
    EXPECT_FALSE(nf4_fused(1, 4096, 4));
}

// The kernel's loop, lane by lane on the CPU, against the plain sum.
TEST(KernelMath, Nf4LanesTogetherMakeTheProduct) {
    const float table[16] = {DORABENCH_NF4_TABLE};
    for (const int in : {8, 256, 264, 1000}) {
        const int block = 64, i = 3; // a row whose blocks cross it where in is no multiple of 64
        std::vector<uint8_t> codes(size_t((i + 1) * in / 2));
        std::vector<float> absmax(size_t(((i + 1) * in + block - 1) / block)), x(static_cast<size_t>(in));
        for (size_t k = 0; k < codes.size(); ++k) codes[k] = uint8_t(k * 37 + 11);
        for (size_t k = 0; k < absmax.size(); ++k) absmax[k] = 0.5f + 0.1f * float(k);
        for (size_t k = 0; k < x.size(); ++k) x[k] = std::sin(float(k));
        double want = 0;
        for (int j = 0; j < in; ++j) {
            const size_t at = size_t(i * in + j);
            want += double(table[nf4_code(codes[at / 2], int(at % 2))] * absmax[at / block]) *
                    double(x[size_t(j)]);
        }
        float sum = 0;
        for (int lane = 0; lane < geometry::kWarp; ++lane) {
            float own = 0, w[8];
            for (int j = lane * 8; j < in; j += geometry::kWarp * 8) {
                nf4_eight(&codes[size_t(i * in + j) / 2], table, absmax[size_t(i * in + j) / block], w,
                          NoRounding{});
                own = nf4_dot_eight(w, &x[size_t(j)], own);
            }
            sum += own;
        }
        EXPECT_NEAR(double(sum), want, 1e-4 * std::max(1.0, std::abs(want))) << in;
    }
}

TEST(KernelMath, Nf4TakesTheHighNibbleFirst) {
    const float table[16] = {DORABENCH_NF4_TABLE};
    EXPECT_EQ(nf4_code(0xF0, 0), 15u);
    EXPECT_EQ(nf4_code(0xF0, 1), 0u);
    EXPECT_EQ(table[0], -1.0f);
    EXPECT_EQ(table[7], 0.0f);
    EXPECT_EQ(table[15], 1.0f);
    for (int i = 1; i < 16; ++i) EXPECT_LT(table[i - 1], table[i]);
}

} // namespace
} // namespace dorabench
