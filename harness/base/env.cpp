#include "harness/base/env.h"
#include "harness/base/text.h"
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace dorabench {

namespace {

// The text behind `key` and a colon in a /proc file; "" where there is none.
std::string proc_value(const char* file, std::string_view key) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        size_t colon = line.find(':');
        if (colon != std::string::npos && trim(std::string_view(line).substr(0, colon)) == key)
            return trim(std::string_view(line).substr(colon + 1));
    }
    return "";
}

int64_t proc_bytes(const char* file, std::string_view key) { // "123 kB" → bytes
    return std::strtoll(proc_value(file, key).c_str(), nullptr, 10) * 1024;
}

// A number in a control-group file; -1 where there is none or no limit ("max").
int64_t cgroup_number(const char* file) {
    std::ifstream in(file);
    int64_t value = -1;
    return in >> value ? value : -1;
}

} // namespace

std::optional<std::string> environment(const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
}

std::string version() { return DORABENCH_VERSION; }

std::string host_description() {
    std::string cpu = proc_value("/proc/cpuinfo", "model name");
    return (cpu.empty() ? "unknown CPU" : cpu) + ", " + std::to_string(std::thread::hardware_concurrency()) +
           " cores, " + human_bytes(static_cast<double>(proc_bytes("/proc/meminfo", "MemTotal")));
}

std::string executable_folder() {
    std::error_code error;
    auto path = std::filesystem::read_symlink("/proc/self/exe", error);
    return error ? "." : path.parent_path().string();
}

std::string share_folder() {
    // beside the program, in the build tree (CMake links the source folders there) and as installed, or in
    // the prefix
    std::string folder = executable_folder();
    for (const char* place : {"/share/dora-bench", "/../share/dora-bench"}) {
        std::error_code ignored;
        if (std::filesystem::is_directory(folder + place, ignored)) return folder + place;
    }
    return folder + "/share/dora-bench";
}

int64_t resident_bytes() { return proc_bytes("/proc/self/status", "VmRSS"); }
int64_t peak_resident_bytes() { return proc_bytes("/proc/self/status", "VmHWM"); }
void reset_peak_resident() { std::ofstream("/proc/self/clear_refs") << "5"; }

int64_t available_memory_bytes() {
    int64_t free = proc_bytes("/proc/meminfo", "MemAvailable");
    int64_t limit = cgroup_number("/sys/fs/cgroup/memory.max"),
            used = cgroup_number("/sys/fs/cgroup/memory.current");
    return limit >= 0 && used >= 0 && limit - used < free ? std::max<int64_t>(limit - used, 0) : free;
}

} // namespace dorabench
