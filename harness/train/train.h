#pragma once
// The one training loop. Loss: the mean over all target tokens of the whole accumulated batch, float32. A
// checkpoint holds adapter, optimizer, sampler and random state; a run resumed from it ends with the same
// bits as one never interrupted.
#include "adapters/adapter_set.h"
#include "harness/api/backend.h"
#include <atomic>
#include <map>
#include <nlohmann/json_fwd.hpp>

namespace dorabench {

class Peers; // peers.h

struct GroupLiveness {
    double max_grad_norm = 0;
    double moved = 0;
    bool alive() const { return max_grad_norm > 0 && moved > 0; }
};

struct TrainOutcome {
    int64_t steps = 0, tokens = 0;
    double seconds = 0, final_loss = 0;
    double best_validation_loss = 0; // valid where has_validation
    bool has_validation = false;
    int64_t dropped_rows = 0, cut_rows = 0; // rows left without a target; rows whose prompt was cut
    int64_t peak_bytes = 0;
    std::map<std::string, GroupLiveness> liveness; // by TrainableTensor::group
};

struct TrainingData {
    std::vector<EncodedExample> train, validation;
    // tasks trained jointly: each batch comes from one source; a single source has index 0 throughout
    std::vector<int> source_of;         // per train example; empty: one source
    std::vector<int64_t> batch_size_of; // per source; empty: settings.batch_size
};

// folder: the run's folder (steps.jsonl, checkpoint/ go there, and adapters/step-N where settings.keep_every
// > 0: what the adapter was after N steps, base_name in its configuration). stop: set by Ctrl-C; the loop
// then finishes the step, saves and throws Error{interrupted}. peers: the processes that train this run
// together, each calling this with the same arguments; process 0 alone writes. NaN or infinite loss: saves
// nothing further and throws Error::failed naming the step.
TrainOutcome train(Backend& backend, AdapterSet& adapter, const TrainSettings& settings,
                   const TrainingData& data, uint64_t seed, const std::string& folder,
                   const std::atomic<int>& stop, Peers* peers = nullptr, const std::string& base_name = "");

// Learning rate factor of HF's schedulers at 0-based step.
double schedule_factor(const TrainSettings& settings, int64_t step, int64_t total_steps);
int64_t total_steps(const TrainSettings& settings, int64_t examples);
// The same where an epoch's steps are known (several sources, packing).
int64_t total_steps_of(const TrainSettings& settings, int64_t steps_per_epoch);

// Deletes folder/checkpoint: for a run whose adapter has been saved and checked.
void remove_checkpoints(const std::string& folder);

} // namespace dorabench
