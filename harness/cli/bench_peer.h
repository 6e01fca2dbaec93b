#pragma once
// bench --peer SCRIPT: another tool's training step on the same shape, in turn with ours.
// The script is called once a method as `python SCRIPT --preset P --method M --rank R --seqlen T --dtype D
// --steps N --warmup W --threads K --device D` and prints one JSON line with step_s_median, step_s_min,
// memory_before_mib and memory_peak_mib (the conventions of ../shared/baselines/hf_step.py;
// scripts/peers/peft_step.py has them too). Its heap is kept as ours is (harness/base/heap.h).
#include "harness/cli/commands.h"
#include <nlohmann/json.hpp>

namespace dorabench {

// Methods that such scripts know.
bool peer_knows(const std::string& method);
// The measured line, with the keys of ours: tool, shape, method, step_seconds, step_seconds_min,
// peak_memory_bytes. Throws Error::data with the command where the script fails or prints anything else.
nlohmann::ordered_json run_peer(const BenchOptions& options, const std::string& shape,
                                const std::string& dtype, const std::string& method);

} // namespace dorabench
