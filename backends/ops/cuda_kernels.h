#pragma once
// The CUDA kernels behind the operators of this folder: a table of functions that libdorabench_cuda.so hands
// over when device.h loads it. Every operator asks for the table when its tensors are on a GPU and falls back
// to ATen without it:
//   if (const CudaKernels* cuda = kernels_for(x)) …
// The functions queue their work on the current stream. Tensors are checked by the operators; types are
// float32, bfloat16 or float16, sums and norms float32 (float64 where said).
#include "backends/ops/aten.h"
#include "backends/ops/compose_math.h"

namespace dorabench {

struct CudaKernels {
    // compose.h
    void (*compose)(at::Tensor& z, const at::Tensor& gain, const at::Tensor& bias);
    at::Tensor (*scale_and_reduce)(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& gain,
                                   const at::Tensor& bias, at::Tensor& dz);
    // dm[i] = sum_t dy z / max(norm, floor) for the columns with |gain| <= threshold, from x, W, h and B
    // themselves; hidden [T, r] (rows may be strided) and up [out, r] undefined: no low-rank part
    void (*weak_magnitudes)(at::Tensor& dm, const at::Tensor& dy, const at::Tensor& x,
                            const at::Tensor& weight, const at::Tensor& hidden, const at::Tensor& up,
                            const at::Tensor& gain, const at::Tensor& norm, double scaling, double threshold);
    // rms_norm.h; rstd float32 [rows], undefined where no backward pass follows
    at::Tensor (*rms_forward)(const at::Tensor& x, const at::Tensor& weight, double eps, at::Tensor rstd);
    at::Tensor (*rms_backward)(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& rstd);
    // rope.h; direction -1 turns back
    at::Tensor (*rope)(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                       const at::Tensor& positions, double direction);
    // swiglu.h; [rows, n], rows may be strided
    at::Tensor (*swiglu_forward)(const at::Tensor& gate, const at::Tensor& up);
    void (*swiglu_backward)(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up,
                            at::Tensor& dgate, at::Tensor& dup);
    // linear_cross_entropy.h: logits [n, V] become their gradient where asked; losses float32 [n]; labels < 0
    // bear no loss, labels >= V give NaN
    void (*cross_entropy)(at::Tensor& logits, const at::Tensor& labels, const at::Tensor& scale,
                          at::Tensor& losses, bool gradient);
    // dropout.h
    void (*dropout)(at::Tensor& x, double p, PhiloxStream stream);
    // dora_norm.h
    at::Tensor (*square_rows)(const at::Tensor& weight); // float64 [out]
    at::Tensor (*dora_norm)(const at::Tensor& weight, const at::Tensor& w2, const at::Tensor& cross,
                            const at::Tensor& down, const at::Tensor& up, const at::Tensor& gram,
                            double scaling);
    // codes uint8 [ceil(n / 2)], absmax float32 [ceil(n / block)] -> y, contiguous, n elements; block a
    // multiple of 8
    void (*nf4_dequantise)(const at::Tensor& codes, const at::Tensor& absmax, int64_t block, at::Tensor& y);
    // x [rows, in] W^T -> [rows, out] in x's type, W decoded on the way (cuda_geometry.h: nf4_fused)
    at::Tensor (*nf4_product)(const at::Tensor& codes, const at::Tensor& absmax, int64_t block,
                              const at::Tensor& x, int64_t out);
};

// What both halves of a build agree on; the shared object refuses another half.
const char* cuda_build_tag();

const CudaKernels* cuda_kernels();                 // null until load_cuda() (device.h) has succeeded
void set_cuda_kernels(const CudaKernels* kernels); // by device.cpp
// The table where x is on a GPU and of a type that the kernels know; else null.
const CudaKernels* kernels_for(const at::Tensor& x);

} // namespace dorabench

// The one symbol of libdorabench_cuda.so: the table, or null when `tag` is not its own, which *own then
// tells.
extern "C" const dorabench::CudaKernels* dorabench_cuda_v1(const char* tag, const char** own);
