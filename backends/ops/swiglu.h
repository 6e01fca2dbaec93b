#pragma once
// SwiGLU (arXiv:2002.05202) as LLaMA uses it: silu(gate) * up; the silu is rounded to the dtype before the
// product, as in the reference code. The backward needs gate and up alone (nothing in between is kept).
#include "backends/ops/aten.h"

namespace dorabench {

// gate, up [..., F] (rows may be strided) -> [..., F] contiguous; differentiable in both
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);
at::Tensor swiglu_ref(const at::Tensor& gate, const at::Tensor& up);

} // namespace dorabench
