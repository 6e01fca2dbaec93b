#pragma once
// The build tag of cuda_kernels.h: the table's layout and LibTorch's version. Included by the two sides of
// the table.
#include "backends/ops/cuda_kernels.h"
#include <string>
#include <torch/headeronly/version.h>

namespace dorabench {

inline const std::string& cuda_tag_here() {
    static const std::string tag =
        "cuda-kernels-1/" + std::to_string(sizeof(CudaKernels)) + "/torch-" TORCH_VERSION;
    return tag;
}

} // namespace dorabench
