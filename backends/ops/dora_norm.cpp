#include "backends/ops/dora_norm.h"
#include "backends/ops/compose.h"
#include "backends/ops/compose_math.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/product.h"
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <algorithm>

namespace dorabench {
namespace {

constexpr double kCancellation = 1e-2;      // rows below this part of their terms' sum are recomputed
constexpr int64_t kChunkElements = 1 << 20; // of W that are widened at a time

template <typename S>
DORABENCH_HOST_DEVICE void square_rows(const S* w, double* sums, int64_t rows, int64_t in) {
    for (int64_t i = 0; i < rows; ++i, w += in) {
        double lanes[16] = {};
        int64_t j = 0;
        for (; j + 16 <= in; j += 16)
            for (int64_t l = 0; l < 16; ++l) lanes[l] += double(float(w[j + l])) * double(float(w[j + l]));
        double sum = 0;
        for (; j < in; ++j) sum += double(float(w[j])) * double(float(w[j]));
        for (double lane : lanes) sum += lane;
        sums[i] = sum;
    }
}

DORABENCH_CLONES void square_rows_f32(const float* w, double* sums, int64_t rows, int64_t in) {
    square_rows(w, sums, rows, in);
}
DORABENCH_CLONES void square_rows_bf16(const c10::BFloat16* w, double* sums, int64_t rows, int64_t in) {
    square_rows(w, sums, rows, in);
}

template <typename S, typename F>
void square_cpu(const at::Tensor& weight, at::Tensor& sums, F kernel) {
    const int64_t in = weight.size(1);
    const S* w = weight.const_data_ptr<S>();
    double* s = sums.mutable_data_ptr<double>();
    at::parallel_for(0, weight.size(0), std::max<int64_t>(1, (1 << 15) / std::max<int64_t>(in, 1)),
                     [&](int64_t from, int64_t to) { kernel(w + from * in, s + from, to - from, in); });
}

int64_t chunk_rows(const at::Tensor& weight) {
    return std::max<int64_t>(1, kChunkElements / std::max<int64_t>(weight.size(1), 1));
}

// c^2 of the given rows from W + s B A itself.
at::Tensor materialised_squares(const at::Tensor& weight, const at::Tensor& down, const at::Tensor& up,
                                double scaling, const at::Tensor& rows) {
    const at::Tensor row = weight.index_select(0, rows).to(at::kDouble) +
                           scaling * at::mm(up.index_select(0, rows).to(at::kDouble), down.to(at::kDouble));
    return (row * row).sum(1);
}

} // namespace

at::Tensor squared_row_norms(const at::Tensor& weight) {
    TORCH_CHECK(weight.dim() == 2, "[dora_norm] weight must be [out, in], got ", weight.sizes());
    at::NoGradGuard no_grad;
    if (const CudaKernels* cuda = kernels_for(weight)) return cuda->square_rows(weight.contiguous());
    at::Tensor sums = at::zeros({weight.size(0)}, weight.options().dtype(at::kDouble).requires_grad(false));
    if (weight.is_cpu() && weight.is_contiguous() && weight.scalar_type() == at::kFloat) {
        square_cpu<float>(weight, sums, square_rows_f32);
    } else if (weight.is_cpu() && weight.is_contiguous() && weight.scalar_type() == at::kBFloat16) {
        square_cpu<c10::BFloat16>(weight, sums, square_rows_bf16);
    } else {
        const int64_t step = chunk_rows(weight);
        for (int64_t row = 0; row < weight.size(0); row += step) {
            const int64_t rows = std::min(step, weight.size(0) - row);
            const at::Tensor wide = weight.narrow(0, row, rows).to(at::kDouble);
            sums.narrow(0, row, rows).copy_((wide * wide).sum(1));
        }
    }
    return sums;
}

at::Tensor weight_times_down(const at::Tensor& weight, const at::Tensor& down) {
    TORCH_CHECK(weight.dim() == 2 && down.dim() == 2 && down.size(1) == weight.size(1),
                "[dora_norm] A must be [r, in=", weight.size(1), "], got ", down.sizes());
    at::NoGradGuard no_grad;
    const auto type = accumulate_type(weight.scalar_type());
    if (weight.is_cuda() && down.scalar_type() == weight.scalar_type())
        return product_nt(weight, down, type);
    const at::Tensor right = down.to(type);
    if (weight.scalar_type() == type) return product_nt(weight, right);
    at::Tensor cross =
        at::empty({weight.size(0), down.size(0)}, weight.options().dtype(type).requires_grad(false));
    const int64_t step = chunk_rows(weight);
    for (int64_t row = 0; row < weight.size(0); row += step) {
        const int64_t rows = std::min(step, weight.size(0) - row);
        cross.narrow(0, row, rows).copy_(product_nt(weight.narrow(0, row, rows).to(type), right));
    }
    return cross;
}

NormTerms dora_norm(const at::Tensor& weight, const at::Tensor& w2, const at::Tensor& down,
                    const at::Tensor& up, double scaling, at::Tensor cross) {
    TORCH_CHECK(w2.dim() == 1 && w2.size(0) == weight.size(0), "[dora_norm] w2 must be [out=", weight.size(0),
                "], got ", w2.sizes());
    TORCH_CHECK(up.dim() == 2 && up.size(0) == weight.size(0) && down.dim() == 2 &&
                    up.size(1) == down.size(0),
                "[dora_norm] B must be [out=", weight.size(0), ", r=", down.size(0), "], got ", up.sizes());
    at::NoGradGuard no_grad;
    const auto type = accumulate_type(weight.scalar_type());
    const at::Tensor a = down.to(type), b = up.to(type);
    NormTerms terms;
    terms.cross = cross.defined() ? cross : weight_times_down(weight, down);
    terms.gram = at::mm(a, a.t());
    if (const CudaKernels* cuda = kernels_for(weight)) { // one launch, and no row count goes to the host
        terms.norm = cuda->dora_norm(weight.contiguous(), w2, terms.cross, a, b, terms.gram, scaling);
        return terms;
    }
    const at::Tensor linear = (2 * scaling) * (terms.cross * b).sum(1, false, at::kDouble);
    const at::Tensor square = (scaling * scaling) * (at::mm(b, terms.gram) * b).sum(1, false, at::kDouble);
    const at::Tensor wide = w2.to(at::kDouble);
    at::Tensor squares = (wide + linear + square).clamp_min_(0);
    const at::Tensor weak = (squares < kCancellation * (wide + linear.abs() + square)).nonzero().view(-1);
    if (weak.numel() > 0) squares.index_copy_(0, weak, materialised_squares(weight, down, up, scaling, weak));
    terms.norm = squares.sqrt_().to(type);
    return terms;
}

at::Tensor dora_gain(const at::Tensor& magnitude, const at::Tensor& norm) {
    at::NoGradGuard no_grad;
    return magnitude.detach().to(norm.scalar_type()) / norm.clamp_min(kNormFloor);
}

} // namespace dorabench
