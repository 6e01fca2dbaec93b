#pragma once
// x W^T + b of a weight that nobody trains, while nothing is recorded: evaluation. float32 on the CPU goes to
// oneDNN, which generates AVX-512 code on every maker's processors; MKL, behind at::linear, keeps to AVX2 on
// AMD's and reaches half of its speed (results/LOG.md, 2026-11-23). Everything else is at::linear.
#include "backends/ops/aten.h"

namespace dorabench {

// x [..., in], weight [out, in], bias [out] or undefined. Differentiable where gradients are recorded.
at::Tensor frozen_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

// While one lives on a thread, products there are those of training although nothing is recorded: the first pass of a
// checkpointed block must give the bits that its recompute gives.
class TrainingProducts {
public:
    TrainingProducts();
    ~TrainingProducts();
    TrainingProducts(const TrainingProducts&) = delete;

private:
    bool before_;
};

} // namespace dorabench
