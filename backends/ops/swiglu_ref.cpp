#include "backends/ops/swiglu.h"
#include <ATen/ops/silu.h>

namespace dorabench {

at::Tensor swiglu_ref(const at::Tensor& gate, const at::Tensor& up) { return at::silu(gate) * up; }

} // namespace dorabench
