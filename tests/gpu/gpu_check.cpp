// Runs the cases of tests/cases on one device: gpu_check [--device cuda] [--only name] [--json]. Exit code 0:
// all pass; 1: some fail; 77: there is no GPU (the reason is printed).
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/device.h"
#include "harness/base/error.h"
#include "tests/cases/cases.h"
#include <chrono>
#include <cstring>
#include <iostream>

using namespace dorabench;

namespace {

std::string escaped(const std::string& text) {
    std::string out;
    for (char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    }
    return out;
}

bool run_case(const cases::Case& one, at::Device device, bool json) {
    cases::Report report;
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::string> failures;
    try {
        one.run(report, device);
        failures = report.failures();
    } catch (const std::exception& error) {
        failures = report.failures();
        failures.push_back(std::string("stopped: ") + error.what());
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (json) {
        std::cout << "{\"kind\": \"check\", \"name\": \"" << one.name << "\", \"device\": \"" << device.str()
                  << "\", \"passed\": " << (failures.empty() ? "true" : "false")
                  << ", \"comparisons\": " << report.comparisons() << ", \"worst\": " << report.worst()
                  << ", \"seconds\": " << seconds << ", \"failures\": [";
        for (size_t i = 0; i < failures.size() && i < 20; ++i)
            std::cout << (i ? ", " : "") << '"' << escaped(failures[i]) << '"';
        std::cout << "]}" << std::endl;
    } else {
        std::cout << (failures.empty() ? "pass " : "FAIL ") << one.name << " (" << report.comparisons()
                  << " comparisons, worst " << report.worst() << " of its tolerance, " << seconds << " s)"
                  << std::endl;
        for (const std::string& failure : failures) std::cout << "     " << failure << std::endl;
    }
    return failures.empty();
}

} // namespace

int main(int argc, char** argv) {
    std::string name = "cuda", only;
    bool json = false;
    for (int i = 1; i < argc; ++i) {
        if (!std::strcmp(argv[i], "--device") && i + 1 < argc)
            name = argv[++i];
        else if (!std::strcmp(argv[i], "--only") && i + 1 < argc)
            only = argv[++i];
        else if (!std::strcmp(argv[i], "--json"))
            json = true;
        else
            return std::cerr << "usage: gpu_check [--device cpu|cuda] [--only case] [--json]\n", 2;
    }
    at::Device device(at::kCPU);
    try {
        device = resolve_device(name);
    } catch (const Error& error) {
        std::cout << "skipped: " << error.what() << std::endl;
        return 77;
    }
    if (device.is_cuda() && !cuda_kernels()) return std::cout << "FAIL the kernels are not loaded\n", 1;
    std::vector<cases::Case> all = cases::op_cases();
    for (auto more : {cases::adapter_cases(), cases::model_cases()})
        all.insert(all.end(), more.begin(), more.end());
    int64_t failed = 0, ran = 0;
    for (const cases::Case& one : all) {
        if (!only.empty() && one.name != only) continue;
        ++ran;
        if (!run_case(one, device, json)) ++failed;
    }
    if (ran == 0) return std::cerr << "no case is called \"" << only << "\"\n", 2;
    return failed ? 1 : 0;
}
