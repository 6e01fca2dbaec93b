#pragma once
// The entry of libdorabench_nccl.so, which adds gradients GPU to GPU: a shared object of its own, so that a
// program without a GPU needs neither NCCL nor LibTorch's CUDA half. peers.cpp opens it by name, beside the
// program.
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

extern "C" {
// Makes the group of `size` processes on this process's current CUDA device. Returns null, or why it could
// not be made (valid until the next call). `tag`: the caller's LibTorch and compiler, which must be this
// object's.
__attribute__((visibility("default"))) const char*
dorabench_nccl_v1(const char* tag, const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                  c10::intrusive_ptr<c10d::Backend>& group);
}
