#include "harness/cli/bench_peer.h"
#include "harness/base/error.h"
#include "harness/base/heap.h"
#include "harness/base/text.h"
#include <ATen/Parallel.h>
#include <array>
#include <cstdio>

namespace dorabench {
namespace {

std::string quoted(const std::string& word) {
    std::string out = "'";
    for (char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

std::string output_of(const std::string& command) {
    FILE* pipe = ::popen(command.c_str(), "r");
    if (!pipe) throw Error::resources("bench: no process could be started for: ", command);
    std::string text;
    std::array<char, 4096> buffer;
    for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
        text.append(buffer.data(), n);
    const int status = ::pclose(pipe);
    if (status != 0) throw Error::data("bench: expected exit status 0, got ", status, " of: ", command);
    return text;
}

} // namespace

bool peer_knows(const std::string& method) {
    return method == "lora" || method == "dora" || method == "vera" || method == "ft";
}

nlohmann::ordered_json run_peer(const BenchOptions& options, const std::string& shape,
                                const std::string& dtype, const std::string& method) {
    const std::string preset = shape == "llama-7b-slice" ? "slice7b" : shape;
    const std::string type = dtype == "float32" ? "fp32" : dtype == "bfloat16" ? "bf16" : "fp16";
    const std::string command = cat(
        "env ", heap_environment(), " ", quoted(options.python), " ", quoted(options.peer), " --preset ",
        quoted(preset), " --method ", quoted(method), " --rank ", options.rank, " --seqlen ", options.tokens,
        " --dtype ", type, " --steps ", options.steps, " --warmup ", std::max<int64_t>(1, options.warmup),
        " --threads ", at::get_num_threads(), " --device ", quoted(options.device));
    for (const std::string& line : split(output_of(command), '\n')) {
        const auto json = nlohmann::json::parse(line, nullptr, false);
        if (!json.is_object() || !json.contains("step_s_median")) continue;
        try {
            const double memory =
                json.at("memory_peak_mib").get<double>() - json.at("memory_before_mib").get<double>();
            return {{"kind", "step"},
                    {"tool", json.value("tool", "peer")},
                    {"shape", shape},
                    {"method", method},
                    {"rank", options.rank},
                    {"tokens", options.tokens},
                    {"dtype", dtype},
                    {"device", options.device},
                    {"step_seconds", json.at("step_s_median").get<double>()},
                    {"step_seconds_min", json.at("step_s_min").get<double>()},
                    {"peak_memory_bytes", int64_t(memory * 1048576)},
                    {"allocator", heap_environment()},
                    {"versions",
                     {{"torch", json.value("torch", "")},
                      {"transformers", json.value("transformers", "")},
                      {"peft", json.value("peft", "")}}}};
        } catch (const nlohmann::json::exception& e) {
            throw Error::data("bench: ", options.peer, ": ", e.what());
        }
    }
    throw Error::data("bench: expected a JSON line with step_s_median, got none from: ", command);
}

} // namespace dorabench
