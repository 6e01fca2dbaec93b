#include "backends/ops/swiglu.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/grad_needed.h"
#include "backends/ops/kernel_math.h"
#include <torch/csrc/autograd/custom_function.h>

namespace dorabench {
namespace {

DORABENCH_CPU_CLONES void forward_row(const float* gate, const float* up, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = swiglu_element(gate[i], up[i], NoRounding{});
}

DORABENCH_CPU_CLONES void backward_row(const float* dy, const float* gate, const float* up, float* dgate,
                                       float* dup, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        float to_gate, to_up;
        swiglu_slopes(dy[i], gate[i], up[i], to_gate, to_up);
        dgate[i] = to_gate;
        dup[i] = to_up;
    }
}

// [..., F] as rows of one stride, without a copy where the layout allows it (a slice of a concatenated
// product does)
at::Tensor as_rows(const at::Tensor& x) {
    const int64_t width = x.size(-1);
    if (x.dim() == 2 && x.stride(1) == 1) return x;
    return x.contiguous().view({-1, width});
}

at::Tensor forward_cpu(const at::Tensor& gate, const at::Tensor& up) {
    const at::Tensor g = as_rows(gate), u = as_rows(up);
    at::Tensor y = at::empty(gate.sizes(), gate.options());
    const int64_t rows = g.size(0), n = g.size(1), gs = g.stride(0), us = u.stride(0);
    const float *a = g.const_data_ptr<float>(), *b = u.const_data_ptr<float>();
    float* to = y.mutable_data_ptr<float>();
    at::parallel_for(0, rows, row_grain(n), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) forward_row(a + r * gs, b + r * us, to + r * n, n);
    });
    return y;
}

at::Tensor forward_any(const at::Tensor& gate, const at::Tensor& up) {
    if (const CudaKernels* cuda = kernels_for(gate))
        return cuda->swiglu_forward(as_rows(gate), as_rows(up)).view(gate.sizes());
    return forward_cpu(gate, up);
}

void backward_cpu(const at::Tensor& d, const at::Tensor& g, const at::Tensor& u, at::Tensor& dgate,
                  at::Tensor& dup) {
    const int64_t rows = g.size(0), n = g.size(1), gs = g.stride(0), us = u.stride(0), ds = d.stride(0);
    const float *a = g.const_data_ptr<float>(), *b = u.const_data_ptr<float>(),
                *dy = d.const_data_ptr<float>();
    float *da = dgate.mutable_data_ptr<float>(), *db = dup.mutable_data_ptr<float>();
    at::parallel_for(0, rows, row_grain(n), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
            backward_row(dy + r * ds, a + r * gs, b + r * us, da + r * n, db + r * n, n);
    });
}

class SwiGlu : public torch::autograd::Function<SwiGlu> {
public:
    static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& gate,
                              const at::Tensor& up) {
        ctx->save_for_backward({gate, up});
        return forward_any(gate, up);
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                   torch::autograd::variable_list grads) {
        auto saved = ctx->get_saved_variables();
        const at::Tensor g = as_rows(saved[0]), u = as_rows(saved[1]), d = as_rows(grads[0]);
        at::Tensor dgate = at::empty(saved[0].sizes(), g.options()),
                   dup = at::empty(saved[1].sizes(), g.options());
        if (const CudaKernels* cuda = kernels_for(g))
            cuda->swiglu_backward(d, g, u, dgate, dup);
        else
            backward_cpu(d, g, u, dgate, dup);
        return {dgate, dup};
    }
};

} // namespace

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
    TORCH_CHECK(gate.sizes() == up.sizes(), "[swiglu] gate and up must have one shape, got ", gate.sizes(),
                " and ", up.sizes());
    const bool alike = gate.device() == up.device() && gate.scalar_type() == up.scalar_type();
    const bool plain = (gate.is_cpu() && gate.scalar_type() == at::kFloat) || kernels_for(gate);
    if (!alike || !plain || gate.dim() == 0) return swiglu_ref(gate, up);
    return grad_needed(gate, up) ? SwiGlu::apply(gate, up) : forward_any(gate, up);
}

} // namespace dorabench
