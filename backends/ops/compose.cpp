#include "backends/ops/compose.h"
#include "backends/ops/compose_math.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/low_rank.h"
#include "backends/ops/product.h"
#include <ATen/TensorOperators.h>
#include <algorithm>

namespace dorabench {
namespace {

constexpr int64_t kColumns = 256;       // columns a block: their sums stay in the first-level cache
constexpr int64_t kFlushRows = 64;      // rows summed in float32 before they go to the float64 total
constexpr int64_t kGrain = 1 << 15;     // elements below which a second thread does not pay
constexpr int64_t kLargestFused = 64;   // ranks up to this ride along with the pass over z
constexpr int64_t kLeastFusedRows = 16; // below, packing B costs more than a pass saves

template <typename S, typename A>
DORABENCH_HOST_DEVICE void compose_rows(S* z, const A* gain, const A* bias, int64_t rows, int64_t out) {
    for (int64_t t = 0; t < rows; ++t, z += out) {
        if (gain && bias)
            for (int64_t i = 0; i < out; ++i) z[i] = S(compose_element<A>(gain[i], A(z[i]), bias[i]));
        else if (gain)
            for (int64_t i = 0; i < out; ++i) z[i] = S(gain[i] * A(z[i]));
        else
            for (int64_t i = 0; i < out; ++i) z[i] = S(A(z[i]) + bias[i]);
    }
}

// One block of columns, all rows: the order of the sums does not depend on the number of threads.
template <typename S, typename A>
DORABENCH_HOST_DEVICE void reduce_block(const S* dy, const S* y, S* dz, const A* gain, const A* bias, A* sum,
                                        int64_t rows, int64_t out, int64_t width) {
    double total[kColumns] = {};
    for (int64_t first = 0; first < rows; first += kFlushRows) {
        A part[kColumns] = {};
        const int64_t last = std::min(rows, first + kFlushRows);
        for (int64_t t = first; t < last; ++t) {
            const S* dy_row = dy + t * out;
            const S* y_row = y + t * out;
            for (int64_t i = 0; i < width; ++i)
                part[i] += magnitude_term<A>(A(dy_row[i]), A(y_row[i]), bias[i]);
            if (dz) {
                S* dz_row = dz + t * out;
                for (int64_t i = 0; i < width; ++i) dz_row[i] = S(gain[i] * A(dy_row[i]));
            }
        }
        for (int64_t i = 0; i < width; ++i) total[i] += part[i];
    }
    for (int64_t i = 0; i < width; ++i) sum[i] = A(total[i]);
}

// target_clones wants plain functions, one a type.
DORABENCH_CLONES void compose_rows_f32(float* z, const float* gain, const float* bias, int64_t rows,
                                       int64_t out) {
    compose_rows(z, gain, bias, rows, out);
}
DORABENCH_CLONES void reduce_block_f32(const float* dy, const float* y, float* dz, const float* gain,
                                       const float* bias, float* sum, int64_t rows, int64_t out,
                                       int64_t width) {
    reduce_block(dy, y, dz, gain, bias, sum, rows, out, width);
}
DORABENCH_CLONES void compose_rows_bf16(c10::BFloat16* z, const float* gain, const float* bias, int64_t rows,
                                        int64_t out) {
    compose_rows(z, gain, bias, rows, out);
}
DORABENCH_CLONES void reduce_block_bf16(const c10::BFloat16* dy, const c10::BFloat16* y, c10::BFloat16* dz,
                                        const float* gain, const float* bias, float* sum, int64_t rows,
                                        int64_t out, int64_t width) {
    reduce_block(dy, y, dz, gain, bias, sum, rows, out, width);
}

template <typename S, typename A, typename F>
void compose_cpu(at::Tensor& z, const at::Tensor& gain, const at::Tensor& bias, F kernel) {
    const int64_t out = z.size(1);
    S* data = z.mutable_data_ptr<S>();
    const A* g = gain.defined() ? gain.const_data_ptr<A>() : nullptr;
    const A* b = bias.defined() ? bias.const_data_ptr<A>() : nullptr;
    at::parallel_for(0, z.size(0), std::max<int64_t>(1, kGrain / std::max<int64_t>(out, 1)),
                     [&](int64_t from, int64_t to) { kernel(data + from * out, g, b, to - from, out); });
}

template <typename S, typename A, typename F>
void reduce_cpu(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& gain, const at::Tensor& bias,
                at::Tensor& dz, at::Tensor& sum, F kernel) {
    const int64_t rows = dy.size(0), out = dy.size(1), blocks = (out + kColumns - 1) / kColumns;
    const S *dy_data = dy.const_data_ptr<S>(), *y_data = y.const_data_ptr<S>();
    S* dz_data = dz.defined() ? dz.mutable_data_ptr<S>() : nullptr;
    const A *g = gain.const_data_ptr<A>(), *b = bias.const_data_ptr<A>();
    A* s = sum.mutable_data_ptr<A>();
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(rows * kColumns, 1));
    at::parallel_for(0, blocks, grain, [&](int64_t from, int64_t to) {
        for (int64_t block = from; block < to; ++block) {
            const int64_t i = block * kColumns;
            kernel(dy_data + i, y_data + i, dz_data ? dz_data + i : nullptr, g + i, b + i, s + i, rows, out,
                   std::min(kColumns, out - i));
        }
    });
}

at::Tensor in_type(const at::Tensor& tensor, at::ScalarType type) {
    return tensor.defined() ? tensor.to(type).contiguous() : tensor;
}

} // namespace

at::ScalarType accumulate_type(at::ScalarType type) { return type == at::kDouble ? at::kDouble : at::kFloat; }

void compose_(at::Tensor& z, const at::Tensor& gain, const at::Tensor& bias) {
    TORCH_CHECK(z.dim() == 2 && z.is_contiguous(), "[compose] z must be contiguous [T, out], got ",
                z.sizes());
    if ((!gain.defined() && !bias.defined()) || z.numel() == 0) return;
    const auto type = accumulate_type(z.scalar_type());
    const at::Tensor g = in_type(gain, type), b = in_type(bias, type);
    if (const CudaKernels* cuda = kernels_for(z)) return cuda->compose(z, g, b);
    if (z.is_cpu() && z.scalar_type() == at::kFloat)
        return compose_cpu<float, float>(z, g, b, compose_rows_f32);
    if (z.is_cpu() && z.scalar_type() == at::kBFloat16)
        return compose_cpu<c10::BFloat16, float>(z, g, b, compose_rows_bf16);
    if (z.is_cpu() && z.scalar_type() == at::kDouble)
        return compose_cpu<double, double>(z, g, b, compose_rows<double, double>);
    at::Tensor y = z.to(type);
    if (g.defined()) y = y * g;
    if (b.defined()) y = y + b;
    z.copy_(y);
}

void low_rank_compose_(at::Tensor& z, const at::Tensor& hidden, const at::Tensor& up, double scaling,
                       const at::Tensor& gain, const at::Tensor& bias) {
    const int64_t rank = up.size(1), out = up.size(0);
    const bool plain = z.is_cpu() && z.scalar_type() == at::kFloat && z.is_contiguous() &&
                       hidden.scalar_type() == at::kFloat && hidden.stride(1) == 1;
    if (!plain || rank > kLargestFused || z.size(0) < kLeastFusedRows) {
        if (plain && rank > kLargestFused)
            z.add_(product_nt(hidden, up), scaling);
        else
            z.addmm_(hidden, up.t(), 1, scaling);
        return compose_(z, gain, bias);
    }
    TORCH_CHECK(z.dim() == 2 && z.size(1) == out && hidden.size(0) == z.size(0) && hidden.size(1) == rank,
                "[low_rank_compose] z must be [T, out=", out, "] and h [T, r=", rank, "], got ", z.sizes(),
                " and ", hidden.sizes());
    const int64_t blocks = (out + kLowRankColumns - 1) / kLowRankColumns, whole = out / kLowRankColumns;
    at::Tensor packed = at::empty({blocks, rank, kLowRankColumns}, z.options().requires_grad(false));
    const at::Tensor b = up.detach().contiguous();
    packed.narrow(0, 0, whole)
        .copy_(b.narrow(0, 0, whole * kLowRankColumns).view({whole, kLowRankColumns, rank}).transpose(1, 2));
    if (blocks > whole) {
        const int64_t rest = out - whole * kLowRankColumns;
        packed.select(0, whole).zero_();
        packed.select(0, whole).narrow(1, 0, rest).copy_(b.narrow(0, out - rest, rest).t());
    }
    const at::Tensor g = in_type(gain, at::kFloat), c = in_type(bias, at::kFloat);
    const LowRank p{hidden.const_data_ptr<float>(),
                    hidden.stride(0),
                    packed.const_data_ptr<float>(),
                    out,
                    rank,
                    float(scaling),
                    g.defined() ? g.const_data_ptr<float>() : nullptr,
                    c.defined() ? c.const_data_ptr<float>() : nullptr};
    float* data = z.mutable_data_ptr<float>();
    at::parallel_for(0, z.size(0), std::max<int64_t>(6, kGrain / std::max<int64_t>(out, 1)),
                     [&](int64_t from, int64_t to) { low_rank_rows(data, p, from, to); });
}

at::Tensor scale_and_reduce(const at::Tensor& dy_in, const at::Tensor& y_in, const at::Tensor& gain,
                            const at::Tensor& bias, at::Tensor& dz) {
    TORCH_CHECK(
        dy_in.dim() == 2 && dy_in.sizes() == y_in.sizes() && dy_in.scalar_type() == y_in.scalar_type(),
        "[scale_and_reduce] dy and y must be alike [T, out], got ", dy_in.sizes(), " and ", y_in.sizes());
    const at::Tensor dy = dy_in.contiguous(), y = y_in.contiguous();
    const auto type = accumulate_type(dy.scalar_type());
    const CudaKernels* cuda = kernels_for(dy);
    if (cuda && dy.numel() > 0 && (!dz.defined() || dz.is_contiguous()))
        return cuda->scale_and_reduce(dy, y, in_type(gain, type), in_type(bias, type), dz);
    at::Tensor sum = at::zeros({dy.size(1)}, dy.options().dtype(type));
    if (dy.numel() == 0) return sum;
    const at::Tensor g = in_type(gain, type);
    const at::Tensor b = bias.defined() ? in_type(bias, type) : at::zeros_like(g);
    if (dy.is_cpu() && dy.scalar_type() == at::kFloat)
        reduce_cpu<float, float>(dy, y, g, b, dz, sum, reduce_block_f32);
    else if (dy.is_cpu() && dy.scalar_type() == at::kBFloat16)
        reduce_cpu<c10::BFloat16, float>(dy, y, g, b, dz, sum, reduce_block_bf16);
    else if (dy.is_cpu() && dy.scalar_type() == at::kDouble)
        reduce_cpu<double, double>(dy, y, g, b, dz, sum, reduce_block<double, double>);
    else {
        const at::Tensor wide = dy.to(type);
        sum = (wide * (y.to(type) - b)).sum(0);
        if (dz.defined()) dz.copy_(wide * g);
    }
    return sum;
}

} // namespace dorabench
