#include "harness/train/device_memory.h"
#include <gtest/gtest.h>

namespace dorabench {
namespace {

TEST(DeviceMemory, ThePeakOfTheCpuSeesWhatWasTouched) {
    const at::Device cpu(at::kCPU);
    reset_peak_memory(cpu);
    const int64_t before = used_memory_bytes(cpu);
    EXPECT_GT(before, 0);
    { const at::Tensor big = at::ones({16 << 20}, at::kFloat); } // 64 MiB, freed again
    EXPECT_GE(peak_memory_bytes(cpu), before + (48 << 20));
    synchronize(cpu);
}

} // namespace
} // namespace dorabench
