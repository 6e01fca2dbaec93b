#pragma once
// Whether an op must record itself for autograd: the cheap path without a graph node is taken otherwise.
#include "backends/ops/aten.h"

namespace dorabench {

template <typename... Tensors>
bool grad_needed(const Tensors&... tensors) {
    return at::GradMode::is_enabled() && ((tensors.defined() && tensors.requires_grad()) || ...);
}

// Rows of the last dimension that one task of at::parallel_for should take, so that a task is worth its
// start.
inline int64_t row_grain(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)); }

} // namespace dorabench
