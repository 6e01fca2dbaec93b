#include "backends/ops/cuda_tag.h"
#include <atomic>

namespace dorabench {
namespace {

std::atomic<const CudaKernels*> table{nullptr};

bool is_short(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

} // namespace

const char* cuda_build_tag() { return cuda_tag_here().c_str(); }

const CudaKernels* cuda_kernels() { return table.load(std::memory_order_acquire); }

void set_cuda_kernels(const CudaKernels* kernels) { table.store(kernels, std::memory_order_release); }

const CudaKernels* kernels_for(const at::Tensor& x) {
    if (!x.is_cuda()) return nullptr;
    return x.scalar_type() == at::kFloat || is_short(x.scalar_type()) ? cuda_kernels() : nullptr;
}

} // namespace dorabench
