// The only file that sees NCCL: c10d's process group of LibTorch's CUDA half, over the nccl.h that its
// libnccl.so.2 is of.
#define USE_C10D_NCCL
#include "harness/train/nccl/nccl_group.h"
#include "harness/api/plugin.h"
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

const char* dorabench_nccl_v1(const char* tag, const c10::intrusive_ptr<c10d::Store>& store, int rank,
                              int size, c10::intrusive_ptr<c10d::Backend>& group) {
    static std::string reason;
    const std::string own = TORCH_VERSION " " DORABENCH_COMPILER_ABI;
    if (own != tag) {
        reason = "it is of another build: expected " + std::string(tag) + ", found " + own + "; build again";
        return reason.c_str();
    }
    try {
        group = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size,
                                                            c10d::ProcessGroupNCCL::Options::create());
        return nullptr;
    } catch (const std::exception& error) {
        reason = error.what();
        reason = reason.substr(0, reason.find('\n'));
        return reason.c_str();
    }
}
