// From tensors to the kernels: memory, the current stream, launch errors; and the entry of
// libdorabench_cuda.so.
#include "backends/ops/cuda/kernels.h"
#include "backends/ops/cuda_geometry.h"
#include "backends/ops/cuda_tag.h"
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cstring>

namespace dorabench {
namespace {

cuda::Element element(const at::Tensor& x) {
    switch (x.scalar_type()) {
    case at::kFloat:
        return cuda::Element::f32;
    case at::kBFloat16:
        return cuda::Element::bf16;
    case at::kHalf:
        return cuda::Element::f16;
    default:
        TORCH_CHECK(false, "[cuda] expected float32, bfloat16 or float16, got ", x.scalar_type());
    }
}

cuda::Stream stream_of(const at::Tensor& x) {
    return c10::cuda::getCurrentCUDAStream(x.get_device()).stream();
}

// Everything on x's device for the length of a call.
struct On {
    explicit On(const at::Tensor& x) : guard(x.device()), stream(stream_of(x)) {}
    c10::cuda::CUDAGuard guard;
    cuda::Stream stream;
};

const float* floats(const at::Tensor& x) { return x.defined() ? x.const_data_ptr<float>() : nullptr; }
cuda::Matrix matrix(const at::Tensor& x) {
    return x.defined() ? cuda::Matrix{x.const_data_ptr(), x.stride(0)} : cuda::Matrix{};
}
// A matrix whose rows are dense and all start where the stride says.
at::Tensor dense_rows(const at::Tensor& x) { return x.stride(1) == 1 || x.size(1) == 1 ? x : x.contiguous(); }

void compose(at::Tensor& z, const at::Tensor& gain, const at::Tensor& bias) {
    const On on(z);
    cuda::compose(element(z), z.mutable_data_ptr(), floats(gain), floats(bias), z.size(0), z.size(1),
                  on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

at::Tensor scale_and_reduce(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& gain,
                            const at::Tensor& bias, at::Tensor& dz) {
    const On on(dy);
    const int64_t rows = dy.size(0), out = dy.size(1);
    const int bytes = int(dy.element_size());
    void* to = dz.defined() ? dz.mutable_data_ptr() : nullptr;
    const int width = geometry::vector_width(out, bytes, {dy.const_data_ptr(), y.const_data_ptr(), to});
    const geometry::ColumnSum split = geometry::column_sum(rows, out, geometry::kVectorBytes / bytes);
    at::Tensor sum = at::empty({out}, dy.options().dtype(at::kFloat));
    at::Tensor partial = at::empty({split.parts, out}, sum.options());
    const cuda::ScaleReduce p{dy.const_data_ptr(),
                              y.const_data_ptr(),
                              to,
                              floats(gain),
                              floats(bias),
                              partial.mutable_data_ptr<float>(),
                              sum.mutable_data_ptr<float>(),
                              rows,
                              out,
                              split.rows_each,
                              split.parts,
                              width};
    cuda::scale_and_reduce(element(dy), p, on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return sum;
}

void weak_magnitudes(at::Tensor& dm, const at::Tensor& dy_in, const at::Tensor& x_in,
                     const at::Tensor& weight_in, const at::Tensor& hidden_in, const at::Tensor& up_in,
                     const at::Tensor& gain, const at::Tensor& norm, double scaling, double threshold) {
    const On on(dm);
    const at::Tensor dy = dense_rows(dy_in), x = dense_rows(x_in), weight = dense_rows(weight_in);
    const at::Tensor hidden = hidden_in.defined() ? dense_rows(hidden_in.to(x.scalar_type())) : hidden_in;
    const at::Tensor up = up_in.defined() ? dense_rows(up_in.to(x.scalar_type())) : up_in;
    cuda::WeakMagnitudes p;
    p.e = element(x);
    p.dy = matrix(dy), p.x = matrix(x), p.weight = matrix(weight), p.hidden = matrix(hidden),
    p.up = matrix(up);
    p.gain = floats(gain), p.norm = floats(norm), p.dm = dm.mutable_data_ptr<float>();
    p.rows = x.size(0), p.in = x.size(1), p.out = weight.size(0), p.rank = up.defined() ? up.size(1) : 0;
    p.scaling = float(scaling), p.threshold = float(threshold), p.floor = 1e-12f; // dora_norm.h: kNormFloor
    cuda::weak_magnitudes(p, on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

at::Tensor rms_forward(const at::Tensor& x, const at::Tensor& weight, double eps, at::Tensor rstd) {
    const On on(x);
    at::Tensor y = at::empty_like(x);
    if (x.numel() == 0) return y;
    const int64_t n = x.size(-1);
    cuda::rms_forward(element(x), x.const_data_ptr(), weight.const_data_ptr(), y.mutable_data_ptr(),
                      rstd.defined() ? rstd.mutable_data_ptr<float>() : nullptr, x.numel() / n, n, float(eps),
                      on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return y;
}

at::Tensor rms_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                        const at::Tensor& rstd) {
    const On on(x);
    at::Tensor dx = at::empty_like(x);
    if (x.numel() == 0) return dx;
    const int64_t n = x.size(-1);
    cuda::rms_backward(element(x), dy.const_data_ptr(), x.const_data_ptr(), weight.const_data_ptr(),
                       floats(rstd), dx.mutable_data_ptr(), x.numel() / n, n, on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return dx;
}

at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                const at::Tensor& positions, double direction) {
    const On on(x);
    at::Tensor y = at::empty({x.size(0), x.size(1), x.size(2)}, x.options());
    if (x.numel() == 0) return y;
    const cuda::Rope p{{x.const_data_ptr(), x.stride(0)},
                       y.mutable_data_ptr(),
                       floats(cos),
                       floats(sin),
                       positions.const_data_ptr<int64_t>(),
                       x.size(0),
                       x.size(1),
                       x.size(2) / 2,
                       cos.size(0),
                       float(direction)};
    cuda::rope(element(x), p, on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return y;
}

at::Tensor swiglu_forward(const at::Tensor& gate, const at::Tensor& up) {
    const On on(gate);
    at::Tensor y = at::empty(gate.sizes(), gate.options());
    if (gate.numel() == 0) return y;
    cuda::swiglu_forward(element(gate), matrix(gate), matrix(up), y.mutable_data_ptr(), gate.size(0),
                         gate.size(1), on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return y;
}

void swiglu_backward(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up, at::Tensor& dgate,
                     at::Tensor& dup) {
    const On on(gate);
    if (gate.numel() == 0) return;
    cuda::swiglu_backward(element(gate), matrix(dy), matrix(gate), matrix(up), dgate.mutable_data_ptr(),
                          dup.mutable_data_ptr(), gate.size(0), gate.size(1), on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void cross_entropy(at::Tensor& logits, const at::Tensor& labels, const at::Tensor& scale, at::Tensor& losses,
                   bool gradient) {
    const On on(logits);
    if (logits.size(0) == 0) return;
    cuda::cross_entropy(element(logits), logits.mutable_data_ptr(), labels.const_data_ptr<int64_t>(),
                        floats(scale), losses.mutable_data_ptr<float>(), logits.size(0), logits.size(1),
                        gradient, on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void dropout(at::Tensor& x, double p, PhiloxStream key) {
    const On on(x);
    const auto threshold = uint64_t((1.0 - p) * 4294967296.0);
    cuda::dropout(element(x), x.mutable_data_ptr(), x.numel(), threshold, float(1.0 / (1.0 - p)), key,
                  on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

at::Tensor square_rows(const at::Tensor& weight) {
    const On on(weight);
    at::Tensor sums = at::zeros({weight.size(0)}, weight.options().dtype(at::kDouble).requires_grad(false));
    if (weight.numel() == 0) return sums;
    cuda::square_rows(element(weight), weight.const_data_ptr(), sums.mutable_data_ptr<double>(),
                      weight.size(0), weight.size(1), on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return sums;
}

at::Tensor dora_norm(const at::Tensor& weight, const at::Tensor& w2, const at::Tensor& cross_in,
                     const at::Tensor& down_in, const at::Tensor& up_in, const at::Tensor& gram_in,
                     double scaling) {
    const On on(weight);
    auto dense = [](const at::Tensor& x) { return x.to(at::kFloat).contiguous(); };
    const at::Tensor cross = dense(cross_in), down = dense(down_in), up = dense(up_in), gram = dense(gram_in),
                     squares = w2.to(at::kDouble).contiguous();
    at::Tensor norm = at::empty({weight.size(0)}, cross.options().requires_grad(false));
    if (norm.numel() == 0) return norm;
    const cuda::DoraNorm p{weight.const_data_ptr(),
                           squares.const_data_ptr<double>(),
                           floats(cross),
                           floats(down),
                           floats(up),
                           floats(gram),
                           norm.mutable_data_ptr<float>(),
                           weight.size(0),
                           weight.size(1),
                           down.size(0),
                           scaling};
    cuda::dora_norm(element(weight), p, on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return norm;
}

void nf4_dequantise(const at::Tensor& codes_in, const at::Tensor& absmax_in, int64_t block, at::Tensor& y) {
    const On on(codes_in);
    const int64_t n = y.numel();
    const at::Tensor codes = codes_in.contiguous(), absmax = absmax_in.to(at::kFloat).contiguous();
    TORCH_CHECK(codes.scalar_type() == at::kByte && block > 0 && block % 8 == 0 &&
                    codes.numel() >= (n + 1) / 2 && absmax.numel() >= geometry::ceil_div(n, block),
                "[nf4] ", n, " elements in blocks of ", block, " need ", (n + 1) / 2, " bytes of codes and ",
                geometry::ceil_div(n, block), " maxima, got ", codes.numel(), " and ", absmax.numel());
    TORCH_CHECK(y.is_contiguous() &&
                    reinterpret_cast<uintptr_t>(y.const_data_ptr()) % geometry::kVectorBytes == 0,
                "[nf4] the result must be contiguous and begin at a multiple of 16 bytes");
    if (n == 0) return;
    // the kernel reads four codes' bytes at once
    const at::Tensor aligned =
        reinterpret_cast<uintptr_t>(codes.const_data_ptr()) % 4 ? codes.clone() : codes;
    cuda::nf4_dequantise(element(y), aligned.const_data_ptr<uint8_t>(), floats(absmax), y.mutable_data_ptr(),
                         n, block, on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

at::Tensor nf4_product(const at::Tensor& codes_in, const at::Tensor& absmax_in, int64_t block,
                       const at::Tensor& x_in, int64_t out) {
    const On on(x_in);
    auto aligned = [](const at::Tensor& t) {
        const at::Tensor dense = t.contiguous();
        return reinterpret_cast<uintptr_t>(dense.const_data_ptr()) % geometry::kVectorBytes ? dense.clone()
                                                                                            : dense;
    };
    const at::Tensor codes = aligned(codes_in), x = aligned(x_in),
                     absmax = absmax_in.to(at::kFloat).contiguous();
    const int64_t rows = x.size(0), in = x.size(1), n = out * in;
    TORCH_CHECK(geometry::nf4_fused(rows, in, block) && codes.scalar_type() == at::kByte &&
                    codes.numel() >= n / 2 && absmax.numel() >= geometry::ceil_div(n, block),
                "[nf4] a product of [", rows, ", ", in, "] with [", out, ", ", in, "] in blocks of ", block,
                " needs ", n / 2, " bytes of codes and ", geometry::ceil_div(n, block), " maxima, got ",
                codes.numel(), " and ", absmax.numel());
    at::Tensor y = at::empty({rows, out}, x.options().requires_grad(false));
    if (y.numel() == 0) return y;
    cuda::nf4_product(element(x),
                      {x.const_data_ptr(), codes.const_data_ptr<uint8_t>(), floats(absmax),
                       y.mutable_data_ptr(), rows, in, out, block},
                      on.stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return y;
}

constexpr CudaKernels kTable{compose,     scale_and_reduce, weak_magnitudes, rms_forward,   rms_backward,
                             rope,        swiglu_forward,   swiglu_backward, cross_entropy, dropout,
                             square_rows, dora_norm,        nf4_dequantise,  nf4_product};

} // namespace
} // namespace dorabench

extern "C" __attribute__((visibility("default"))) const dorabench::CudaKernels*
dorabench_cuda_v1(const char* tag, const char** own) {
    *own = dorabench::cuda_tag_here().c_str();
    return tag && std::strcmp(tag, *own) == 0 ? &dorabench::kTable : nullptr;
}
