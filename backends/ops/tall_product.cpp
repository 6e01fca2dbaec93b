#include "backends/ops/tall_product.h"
#include "backends/ops/compose_math.h"
#include <algorithm>

namespace dorabench {
namespace {

constexpr int64_t kPanel = 16; // columns of the result at a time: one AVX-512 register
constexpr int64_t kRows =
    8; // rows of W at a time: enough independent sums to hide the multiply-add's latency
constexpr int64_t kBlock = 512; // products summed before they go to the row's total

typedef float Vector __attribute__((vector_size(kPanel * sizeof(float))));

// result[i] = sum_j w[i, j] panel[j] for R rows; panel [in, 16].
template <int64_t R, typename S>
DORABENCH_HOST_DEVICE void rows_times_panel(const S* w, int64_t in, const Vector* panel, float* result,
                                            int64_t stride, int64_t columns) {
    Vector total[R] = {};
    for (int64_t first = 0; first < in; first += kBlock) {
        Vector part[R] = {};
        const int64_t last = std::min(in, first + kBlock);
        for (int64_t j = first; j < last; ++j) {
            const Vector a = panel[j];
            for (int64_t i = 0; i < R; ++i) part[i] += float(w[i * in + j]) * a;
        }
        for (int64_t i = 0; i < R; ++i) total[i] += part[i];
    }
    for (int64_t i = 0; i < R; ++i)
        for (int64_t k = 0; k < columns; ++k) result[i * stride + k] = total[i][k];
}

// Rows [from, to) of W against all panels; a tile of rows stays in cache from one panel to the next.
template <typename S>
DORABENCH_HOST_DEVICE void tall_rows(const S* w, int64_t from, int64_t to, int64_t in, const Vector* panels,
                                     float* result, int64_t rank) {
    for (int64_t row = from; row < to;) {
        const bool full = row + kRows <= to;
        for (int64_t k = 0; k < rank; k += kPanel) {
            const Vector* panel = panels + k / kPanel * in;
            const int64_t columns = std::min(kPanel, rank - k);
            if (full)
                rows_times_panel<kRows>(w + row * in, in, panel, result + row * rank + k, rank, columns);
            else
                rows_times_panel<1>(w + row * in, in, panel, result + row * rank + k, rank, columns);
        }
        row += full ? kRows : 1;
    }
}

DORABENCH_CLONES void tall_rows_f32(const float* w, int64_t from, int64_t to, int64_t in,
                                    const Vector* panels, float* result, int64_t rank) {
    tall_rows(w, from, to, in, panels, result, rank);
}
DORABENCH_CLONES void tall_rows_bf16(const c10::BFloat16* w, int64_t from, int64_t to, int64_t in,
                                     const Vector* panels, float* result, int64_t rank) {
    tall_rows(w, from, to, in, panels, result, rank);
}

} // namespace

bool suits_tall_product(const at::Tensor& weight, const at::Tensor& down) {
    return weight.is_cpu() && weight.is_contiguous() && down.size(0) <= 4 * kPanel &&
           (weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kBFloat16);
}

at::Tensor tall_product(const at::Tensor& weight, const at::Tensor& down) {
    TORCH_CHECK(weight.dim() == 2 && down.dim() == 2 && down.size(1) == weight.size(1),
                "[tall_product] A must be [r, in=", weight.size(1), "], got ", down.sizes());
    const int64_t out = weight.size(0), in = weight.size(1), rank = down.size(0);
    const int64_t panels = (rank + kPanel - 1) / kPanel;
    // [panels, in, 16]: the columns of A^T that meet one element of W lie together.
    at::Tensor packed = at::zeros({panels * kPanel, in}, at::kFloat);
    packed.narrow(0, 0, rank).copy_(down);
    packed = packed.view({panels, kPanel, in}).transpose(1, 2).contiguous();
    at::Tensor result = at::empty({out, rank}, at::kFloat);
    const Vector* p =
        reinterpret_cast<const Vector*>(packed.const_data_ptr<float>()); // ATen aligns to 64 bytes
    float* r = result.mutable_data_ptr<float>();
    const int64_t tiles = (out + kRows - 1) / kRows;
    const bool wide = weight.scalar_type() == at::kFloat;
    at::parallel_for(
        0, tiles, std::max<int64_t>(1, (1 << 17) / std::max<int64_t>(in * kRows, 1)),
        [&](int64_t from, int64_t to) {
            const int64_t last = std::min(out, to * kRows);
            if (wide)
                tall_rows_f32(weight.const_data_ptr<float>(), from * kRows, last, in, p, r, rank);
            else
                tall_rows_bf16(weight.const_data_ptr<c10::BFloat16>(), from * kRows, last, in, p, r, rank);
        });
    return result;
}

} // namespace dorabench
