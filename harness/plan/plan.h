#pragma once
// From an experiment file to the ordered list of runs: sweep and seeds expanded, every name resolved,
// parameters counted from shapes, each run identified by a hash of what defines its result (not of output
// folders, jobs or launcher). Pure: reads no weights and no data. All errors surface here.
#include "adapters/adapter_set.h"
#include "harness/api/registry.h"
#include "harness/config/config.h"

namespace dorabench {

struct MemoryEstimate { // bytes
    int64_t weights = 0, adapter = 0, gradients = 0, optimizer = 0, buffers = 0, activations = 0, program = 0;
    bool accumulates = false; // several micro-batches a step: gradients stand beside activations
    int64_t total() const;    // at the peak
};

struct PlannedRun {
    std::string id; // 16 hex digits of sha256 over the identity json
    RunSettings settings;
    std::vector<Assignment> assignments; // its place on the sweep's axes
    ModelShapes shapes;
    AdapterCount count;
    MemoryEstimate memory;
    // With `select: {over: key}`: what this run shares with those that it stands against (all axes but `over`
    // and the seed), and its value on the axis. Empty without.
    std::string select_group, select_value;
};

struct RunPlan {
    std::string name;
    std::vector<PlannedRun> runs;
    SweepSettings sweep;
    std::vector<std::string>
        notes; // for the reader of the plan: combinations that were one and the same run, ranks solved
};

// The sweep's combinations in order: the first axis changes slowest; keys of a zip move together. No axis:
// one empty combination. Error::config for a zip whose lists differ in length.
std::vector<std::vector<Assignment>> combinations(const SweepSettings& sweep);
// Throws ConfigErrors with everything that is wrong.
RunPlan make_plan(const ConfigFile& config, const Registry<BackendFactory>& backends,
                  const KnownNames& names);
// The id. Left out: name, results, data_dir, save_every, keep_every, folders of plug-ins, and keys that the
// method does not use; alpha stands as resolved, so that alpha and scaling give the same id.
std::string run_identity(const RunSettings& settings);
// What one training step holds, from shapes (memory.cpp has the formulas); without a train section, the
// defaults' batch.
MemoryEstimate estimate_memory(const ModelShapes& shapes, const AdapterCount& count,
                               const RunSettings& settings);

// Error::resources where the estimate exceeds what there is, with what would need less and how much it would
// be.
void require_memory(const PlannedRun& run, int64_t available);

// `match: {trainable: 1%}`: the rank at which the method comes nearest to the budget. What: trainable (a
// percent of all parameters, or a number), stored_bytes (of the saved adapter; 10MB, 8MiB), memory (bytes of
// the estimate). The counts grow with the rank, so bisection is exact. Error::config for a budget that cannot
// be read or a method without a rank.
struct Budget {
    std::string what;
    double amount = 0;
    bool percent = false;
};
Budget parse_budget(const std::string& what, const std::string& text);
int64_t solve_rank(const Budget& budget, const ModelShapes& shapes, RunSettings settings);

} // namespace dorabench
