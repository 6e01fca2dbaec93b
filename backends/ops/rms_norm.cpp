#include "backends/ops/rms_norm.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/grad_needed.h"
#include "backends/ops/kernel_math.h"
#include <torch/csrc/autograd/custom_function.h>

namespace dorabench {
namespace {

constexpr int64_t kLanes =
    16; // partial sums, so that the loops vectorise without reordering allowed globally

DORABENCH_CPU_CLONES float square_sum(const float* x, int64_t n) {
    float lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (int64_t j = 0; j < kLanes; ++j) lanes[j] += x[i + j] * x[i + j];
    float sum = 0;
    for (int64_t j = 0; j < kLanes; ++j) sum += lanes[j];
    for (; i < n; ++i) sum += x[i] * x[i];
    return sum;
}

DORABENCH_CPU_CLONES void scale_row(const float* x, const float* weight, float rstd, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = rms_element(x[i], weight[i], rstd, NoRounding{});
}

// dx = rstd (g - x rstd^2 mean(g x)) with g = dy * weight
DORABENCH_CPU_CLONES void backward_row(const float* dy, const float* x, const float* weight, float rstd,
                                       float* dx, int64_t n) {
    float lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (int64_t j = 0; j < kLanes; ++j) lanes[j] += dy[i + j] * weight[i + j] * x[i + j];
    float dot = 0;
    for (int64_t j = 0; j < kLanes; ++j) dot += lanes[j];
    for (; i < n; ++i) dot += dy[i] * weight[i] * x[i];
    const float pull = rms_pull(dot, rstd, n);
    for (i = 0; i < n; ++i) dx[i] = rms_slope(dy[i], x[i], weight[i], rstd, pull);
}

bool has_kernel(const at::Tensor& x, const at::Tensor& weight) {
    if (x.scalar_type() != weight.scalar_type() || x.device() != weight.device()) return false;
    return kernels_for(x) || (x.is_cpu() && x.scalar_type() == at::kFloat);
}

// y, and rstd [rows]; x contiguous float32
at::Tensor forward_cpu(const at::Tensor& x, const at::Tensor& weight, double eps, float* rstd) {
    const int64_t n = x.size(-1), rows = n == 0 ? 0 : x.numel() / n;
    at::Tensor y = at::empty_like(x), w = weight.contiguous();
    const float *from = x.const_data_ptr<float>(), *scale = w.const_data_ptr<float>();
    float* to = y.mutable_data_ptr<float>();
    at::parallel_for(0, rows, row_grain(n), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const float root = rms_rstd(square_sum(from + r * n, n), n, static_cast<float>(eps));
            scale_row(from + r * n, scale, root, to + r * n, n);
            if (rstd) rstd[r] = root;
        }
    });
    return y;
}

// rstd undefined: no backward pass follows
at::Tensor forward_any(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& rstd) {
    if (const CudaKernels* cuda = kernels_for(x)) return cuda->rms_forward(x, weight.contiguous(), eps, rstd);
    return forward_cpu(x, weight, eps, rstd.defined() ? rstd.mutable_data_ptr<float>() : nullptr);
}

at::Tensor backward_cpu(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                        const at::Tensor& rstd) {
    const int64_t n = x.size(-1), rows = rstd.numel();
    at::Tensor dx = at::empty_like(x);
    float* to = dx.mutable_data_ptr<float>();
    const float *up = dy.const_data_ptr<float>(), *scale = weight.const_data_ptr<float>(),
                *root = rstd.const_data_ptr<float>(), *from = x.const_data_ptr<float>();
    at::parallel_for(0, rows, row_grain(n), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
            backward_row(up + r * n, from + r * n, scale, root[r], to + r * n, n);
    });
    return dx;
}

class RmsNorm : public torch::autograd::Function<RmsNorm> {
public:
    static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                              const at::Tensor& weight, double eps) {
        const int64_t rows = x.numel() / std::max<int64_t>(1, x.size(-1));
        at::Tensor rstd = at::empty({rows}, x.options().dtype(at::kFloat));
        at::Tensor y = forward_any(x, weight, eps, rstd);
        ctx->save_for_backward({x, weight, rstd});
        return y;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                   torch::autograd::variable_list grads) {
        auto saved = ctx->get_saved_variables();
        const at::Tensor x = saved[0], weight = saved[1].contiguous(), rstd = saved[2],
                         dy = grads[0].contiguous();
        const int64_t n = x.size(-1), rows = rstd.numel();
        at::Tensor dx, dweight;
        if (ctx->needs_input_grad(0)) {
            const CudaKernels* cuda = kernels_for(x);
            dx = cuda ? cuda->rms_backward(dy, x, weight, rstd) : backward_cpu(dy, x, weight, rstd);
        }
        if (ctx->needs_input_grad(1)) { // rare: full fine-tuning, train_also
            at::Tensor normal = (x.view({rows, n}) * rstd.unsqueeze(1)).to(x.scalar_type());
            dweight = (dy.view({rows, n}).to(at::kFloat) * normal).sum(0).to(weight.scalar_type());
        }
        return {dx, dweight, at::Tensor()};
    }
};

} // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
    TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1 && x.size(-1) == weight.size(0),
                "[rms_norm] weight must be [C=", x.dim() ? x.size(-1) : 0, "], got ", weight.sizes());
    if (!has_kernel(x, weight)) return rms_norm_ref(x, weight, eps);
    const at::Tensor dense = x.contiguous();
    return grad_needed(dense, weight) ? RmsNorm::apply(dense, weight, eps)
                                      : forward_any(dense, weight, eps, {});
}

} // namespace dorabench
