#pragma once
// Gradient checkpointing (arXiv:1604.06174): keeps a block's input alone and runs the block again in the
// backward pass. The block must be a function of its input and of parameters (no state that changes between
// the two runs: dropout masks here are functions of a counter). Parameters' gradients go to their .grad, as
// backward() puts them; torch::autograd::grad does not see them.
#include "backends/ops/aten.h"
#include <functional>

namespace dorabench {

using Block = std::function<at::Tensor(const at::Tensor&)>;
// x must require a gradient, or the block is not recorded at all.
at::Tensor checkpointed(const Block& block, const at::Tensor& x);

} // namespace dorabench
