#include "backends/ops/device.h"
#include "backends/ops/aten.h"
#include "backends/ops/cuda_kernels.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include <ATen/detail/CUDAHooksInterface.h>
#include <charconv>
#include <dlfcn.h>
#include <filesystem>
#include <mutex>

namespace dorabench {
namespace {

std::string try_load() {
    const std::string path = executable_folder() + "/libdorabench_cuda.so";
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored))
        return cat("no ", path,
                   " (this build has no CUDA part; build with the CUDA toolkit, -DDORABENCH_CUDA=ON)");
    void* object = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (!object) {
        const char* reason = dlerror();
        return cat(path, " cannot be loaded: ", reason ? reason : "unknown reason");
    }
    using Entry = decltype(&dorabench_cuda_v1);
    const auto entry = reinterpret_cast<Entry>(dlsym(object, "dorabench_cuda_v1"));
    if (!entry) return cat(path, " does not export dorabench_cuda_v1: it is of another build; build again");
    const char* own = "";
    const CudaKernels* kernels = entry(cuda_build_tag(), &own);
    if (!kernels)
        return cat(path, " is of another build: expected ", cuda_build_tag(), ", found ", own,
                   "; build again");
    if (cuda_device_count() == 0)
        return "no CUDA device is visible (driver missing, or none in CUDA_VISIBLE_DEVICES)";
    set_cuda_kernels(kernels);
    return "";
}

} // namespace

int64_t cuda_device_count() {
    const auto& hooks = at::detail::getCUDAHooks();
    return hooks.hasCUDA() ? hooks.deviceCount() : 0;
}

std::string load_cuda() {
    static std::once_flag once;
    static std::string reason;
    std::call_once(once, [] { reason = try_load(); });
    return reason;
}

at::Device resolve_device(const std::string& name) {
    if (name == "cpu") return at::Device(at::kCPU);
    int64_t index = 0;
    const bool automatic = name == "auto" || name.empty();
    if (!automatic && name != "cuda") {
        const char *begin = name.data() + 5, *end = name.data() + name.size();
        const bool numbered = name.rfind("cuda:", 0) == 0 && begin != end;
        const auto parsed = numbered ? std::from_chars(begin, end, index) : std::from_chars_result{};
        if (!numbered || parsed.ec != std::errc() || parsed.ptr != end || index < 0 || index > 127)
            throw Error::config("device must be auto, cpu, cuda or cuda:N, got \"", name, "\"");
    }
    const std::string reason = load_cuda();
    if (automatic && !reason.empty()) return at::Device(at::kCPU);
    if (!reason.empty())
        throw Error::resources("device ", name, " is not to be had: ", reason, "; use device cpu");
    if (index >= cuda_device_count())
        throw Error::resources("device ", name, " is not to be had: there are ", cuda_device_count(),
                               " CUDA devices");
    return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

} // namespace dorabench
