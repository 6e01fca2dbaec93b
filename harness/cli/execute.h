#pragma once
// One planned run from start to record: data, backbone, adapter, self-checks, training, evaluation,
// metrics.json. Picks up where an earlier attempt stopped: a finished run is left alone, a trained one is
// only evaluated, a training goes on from its newest checkpoint, an evaluation from its last finished sample.
#include "harness/cli/commands.h"
#include "harness/plan/plan.h"
#include "harness/store/store.h"
#include "tasks/catalog.h"
#include <atomic>

namespace dorabench {

// Ctrl-C and SIGTERM: the number of signals so far, and the last one. Once: finish the step and save; twice:
// stop.
const std::atomic<int>& stop_requests();
int stop_signal();
void watch_stop_signals();

// Keeps the backbone between runs that share it (a sweep), so that its weights are loaded once. A run that
// changed the base weights (full fine-tuning, PiSSA, train_also) gives it up.
class BackendCache {
public:
    explicit BackendCache(const Registries& registries) : registries_(registries) {}
    Backend& get(const BackendSettings& settings, uint64_t seed);
    void drop() { backend_.reset(); }

private:
    const Registries& registries_;
    std::string key_;
    std::unique_ptr<Backend> backend_;
};

// The settings that a run folder's config.yaml states. Error::data when it is damaged.
RunSettings read_run_settings(const std::string& run_folder, const Registries& registries);

// A tokenizer named like a synthetic world's task is the one that the world brings along: it is written to
// <results>/tokenizers and the settings name that folder.
BackendSettings with_tokenizer(const RunSettings& settings, const TaskCatalog& catalog);

enum class RunState { done, skipped_done, busy_elsewhere };

// Throws what ended the run, after recording it in metrics.json (status "failed" with the message; an
// interruption is recorded as "interrupted").
RunState execute_run(const PlannedRun& run, RunFolder& folder, const TaskCatalog& catalog,
                     BackendCache& backends);

} // namespace dorabench
