#include "backends/ops/rope.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/grad_needed.h"
#include "backends/ops/kernel_math.h"
#include <ATen/ops/outer.h>
#include <torch/csrc/autograd/custom_function.h>

namespace dorabench {
namespace {

DORABENCH_CPU_CLONES void rotate_heads(const float* x, const float* cos, const float* sin, float direction,
                                       float* y, int64_t heads, int64_t half) {
    for (int64_t h = 0; h < heads; ++h, x += 2 * half, y += 2 * half)
        for (int64_t i = 0; i < half; ++i) {
            float a = x[i], b = x[i + half];
            rope_pair(a, b, cos[i], direction * sin[i], NoRounding{});
            y[i] = a;
            y[i + half] = b;
        }
}

// direction -1 turns back, which is the gradient
at::Tensor rotate_cpu(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions,
                      float direction) {
    const int64_t n = x.size(0), heads = x.size(1), half = x.size(2) / 2, stride = x.stride(0);
    at::Tensor y = at::empty({n, heads, 2 * half}, x.options());
    const float *from = x.const_data_ptr<float>(), *cos = table.cos.const_data_ptr<float>(),
                *sin = table.sin.const_data_ptr<float>();
    const int64_t* position = positions.const_data_ptr<int64_t>();
    float* to = y.mutable_data_ptr<float>();
    at::parallel_for(0, n, row_grain(heads * half), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
            rotate_heads(from + r * stride, cos + position[r] * half, sin + position[r] * half, direction,
                         to + r * heads * half * 2, heads, half);
    });
    return y;
}

at::Tensor rotate(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions, float direction) {
    if (const CudaKernels* cuda = kernels_for(x))
        return cuda->rope(x, table.cos, table.sin, positions, direction);
    return rotate_cpu(x, table, positions, direction);
}

// Rows may be strided (a slice of a concatenated q-k-v product), heads may not.
at::Tensor with_dense_heads(const at::Tensor& x) {
    return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
}

class Rope : public torch::autograd::Function<Rope> {
public:
    static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                              const at::Tensor& cos, const at::Tensor& sin, const at::Tensor& positions) {
        ctx->save_for_backward({cos, sin, positions});
        return rotate(x, {cos, sin}, positions, 1);
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                   torch::autograd::variable_list grads) {
        auto saved = ctx->get_saved_variables();
        return {rotate(with_dense_heads(grads[0]), {saved[0], saved[1]}, saved[2], -1), at::Tensor(),
                at::Tensor(), at::Tensor()};
    }
};

} // namespace

RopeTable make_rope_table(const at::Tensor& inv_freq, int64_t positions, double scale) {
    at::Tensor angles = at::outer(at::arange(positions, inv_freq.options()), inv_freq);
    return {(angles.cos() * scale).contiguous(), (angles.sin() * scale).contiguous()};
}

at::Tensor rope(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions) {
    TORCH_CHECK(x.dim() == 3 && x.size(2) == 2 * table.cos.size(1) && positions.dim() == 1 &&
                    positions.size(0) == x.size(0),
                "[rope] expected x [N, H, D=", 2 * table.cos.size(1), "] and positions [N], got ", x.sizes(),
                " and ", positions.sizes());
    const bool plain = x.is_cpu() && x.scalar_type() == at::kFloat;
    if ((!plain && !kernels_for(x)) || !positions.is_contiguous() || table.cos.scalar_type() != at::kFloat)
        return rope_ref(x, table, positions);
    const at::Tensor dense = with_dense_heads(x);
    return grad_needed(dense) ? Rope::apply(dense, table.cos, table.sin, positions)
                              : rotate(dense, table, positions, 1);
}

} // namespace dorabench
