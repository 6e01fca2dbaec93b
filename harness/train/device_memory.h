#pragma once
// Memory in use on a device: the process's resident set on the CPU, the caching allocator's blocks elsewhere.
#include "backends/ops/aten.h"

namespace dorabench {

void reset_peak_memory(const at::Device& device);
int64_t peak_memory_bytes(const at::Device& device);
int64_t used_memory_bytes(const at::Device& device);
int64_t available_memory_bytes(const at::Device& device); // free for this process; what it has cached counts
void synchronize(const at::Device& device);               // waits for queued work; nothing to do on the CPU

} // namespace dorabench
