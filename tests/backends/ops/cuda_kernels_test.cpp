// The kernels' shared object, as far as a machine without a GPU shows it.
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/device.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

std::string object_path() { return executable_folder() + "/libdorabench_cuda.so"; }
#define NEEDS_OBJECT()                                                                                       \
    if (!std::filesystem::exists(object_path())) GTEST_SKIP() << "this build has no CUDA part"

std::string output_of(const std::string& command) {
    std::string out;
    std::array<char, 4096> part;
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    if (!pipe) return out;
    while (size_t n = fread(part.data(), 1, part.size(), pipe)) out.append(part.data(), n);
    pclose(pipe);
    return out;
}

TEST(CudaObject, ExportsItsEntryAndNothingElseOfOurs) {
    NEEDS_OBJECT();
    const std::string symbols = output_of("nm -D --defined-only '" + object_path() + "'");
    if (symbols.find("T dorabench_cuda_v1") == std::string::npos &&
        symbols.find("not found") != std::string::npos)
        GTEST_SKIP() << "no nm on this machine";
    EXPECT_NE(symbols.find(" T dorabench_cuda_v1"), std::string::npos) << symbols;
    EXPECT_EQ(symbols.find("scale_and_reduce"), std::string::npos) << "launchers are internal";
}

TEST(CudaObject, LoadsOrSaysWhyNotAndBringsNoSecondProtobuf) {
    NEEDS_OBJECT();
    const std::string reason = load_cuda();
    EXPECT_EQ(reason.empty(), cuda_kernels() != nullptr) << reason;
    if (!reason.empty()) EXPECT_GT(reason.size(), 20u) << "a reason that says something";
    EXPECT_EQ(reason.find("another build"), std::string::npos) << reason;
    EXPECT_EQ(load_cuda(), reason) << "asked once";
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
        ASSERT_EQ(line.find("libprotobuf"), std::string::npos) << line;
}

TEST(CudaObject, WithoutADeviceCudaIsRefusedWithTheReasonAndAutoIsTheCpu) {
    if (load_cuda().empty()) GTEST_SKIP() << "a CUDA device is here";
    EXPECT_EQ(resolve_device("auto"), at::Device(at::kCPU));
    try {
        resolve_device("cuda");
        FAIL() << "cuda was accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::resources);
        EXPECT_NE(std::string(error.what()).find(load_cuda()), std::string::npos) << error.what();
    }
}

TEST(CudaKernels, AreNotAskedForTensorsOnTheCpu) {
    EXPECT_EQ(kernels_for(at::zeros({2})), nullptr);
    EXPECT_EQ(kernels_for(at::zeros({2}, at::kDouble)), nullptr);
}

} // namespace
} // namespace dorabench
