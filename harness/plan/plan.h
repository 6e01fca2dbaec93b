#pragma once
// From an experiment file to the ordered list of runs: sweep and seeds expanded, every name resolved, parameters counted
// from shapes, each run identified by a hash of what defines its result (not of output folders, jobs or launcher). Pure:
// reads no weights and no data. All errors surface here.
#include "adapters/adapter_set.h"
#include "harness/api/registry.h"
#include "harness/config/config.h"

namespace dorabench {

struct MemoryEstimate { int64_t weights = 0, adapter = 0, gradients = 0, optimizer = 0, activations = 0; int64_t total() const; };

struct PlannedRun {
    std::string id;                       // 16 hex digits of sha256 over the identity json
    RunSettings settings;
    std::vector<Assignment> assignments;  // its place on the sweep's axes
    ModelShapes shapes;
    AdapterCount count;
    MemoryEstimate memory;
};

struct RunPlan {
    std::string name;
    std::vector<PlannedRun> runs;
    SweepSettings sweep;
};

// Throws ConfigErrors with everything that is wrong.
RunPlan make_plan(const ConfigFile& config, const Registry<BackendFactory>& backends, const KnownNames& names);
std::string run_identity(const RunSettings& settings); // the id; keys a method does not use are left out
MemoryEstimate estimate_memory(const ModelShapes& shapes, const AdapterCount& count, const RunSettings& settings);

} // namespace dorabench
