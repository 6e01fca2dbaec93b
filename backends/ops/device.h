#pragma once
// Where tensors live. The program links LibTorch's CPU part alone; the CUDA part comes with
// libdorabench_cuda.so, which lies beside the program and is loaded here, before anything asks LibTorch about
// CUDA (it remembers the first answer).
#include <c10/core/Device.h>
#include <string>

namespace dorabench {

// "cpu", "cuda", "cuda:1", or "auto": the first CUDA device where that works, else the CPU. Error::config for
// another word, Error::resources (with the reason) where CUDA was asked for and is not to be had.
at::Device resolve_device(const std::string& name);
// Loads the kernels' shared object once; "" on success, else why not.
std::string load_cuda();
int64_t cuda_device_count(); // 0 before load_cuda() succeeded

} // namespace dorabench
