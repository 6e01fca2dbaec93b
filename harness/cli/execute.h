#pragma once
// One planned run from start to record: data, backbone, adapter, self-checks, training, evaluation,
// metrics.json. Picks up where an earlier attempt stopped: a finished run is left alone, a trained one is
// only evaluated, a training goes on from its newest checkpoint, an evaluation from its last finished sample.
#include "harness/cli/commands.h"
#include "harness/plan/plan.h"
#include "harness/store/store.h"
#include "harness/train/peers.h"
#include "tasks/catalog.h"
#include <atomic>
#include <optional>

namespace dorabench {

// Ctrl-C and SIGTERM: the number of signals so far, and the last one. Once: finish the step and save; twice:
// stop.
const std::atomic<int>& stop_requests();
int stop_signal();
void watch_stop_signals();

// The processes that train each run together (--launcher torchrun). Process 0 works through the plan and says
// by `announce`, before it trains, which run that is; the others wait for it in assist_run().
struct Together {
    Peers* peers = nullptr;
    std::function<void()> announce;
};

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
// write: false where process 0 has written it.
BackendSettings with_tokenizer(const RunSettings& settings, const TaskCatalog& catalog, bool write = true);

enum class RunState { done, skipped_done, busy_elsewhere };

// `select`: why this run was evaluated, as metrics.json tells under "selected_by".
struct Selection {
    struct Candidate {
        std::string value;          // on the axis: "0.0002"
        double validation_loss = 0; // mean over the seeds
        std::vector<std::string> runs;
        bool tested = false; // its test set was scored, now or by an earlier plan
    };
    std::string over, by, winner;
    std::vector<Candidate> candidates;
};

// Throws what ended the run, after recording it in metrics.json (status "failed" with the message; an
// interruption is recorded as "interrupted").
RunState execute_run(const PlannedRun& run, RunFolder& folder, const TaskCatalog& catalog,
                     BackendCache& backends, const Selection* selection = nullptr,
                     const Together& together = {});
// The part of a process other than the first: its share of one run's training, nothing written.
void assist_run(const PlannedRun& run, const TaskCatalog& catalog, BackendCache& backends, Peers& peers);
// A candidate of a selection: trained and recorded with status "trained"; no test set is scored.
RunState train_candidate(const PlannedRun& run, RunFolder& folder, const TaskCatalog& catalog,
                         BackendCache& backends, const Together& together = {});
// Records what a selection chose: a candidate that lost gets status "not selected"; one that was evaluated
// before keeps its scores, which tables then withhold (read_run).
void record_selection(RunFolder& folder, const Selection& selection);
// Best validation loss of a trained candidate; nullopt before.
std::optional<double> candidate_loss(const RunFolder& folder);

} // namespace dorabench
