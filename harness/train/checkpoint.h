#pragma once
// Checkpoints of a training run, under <run>/checkpoint:
//   step-N/        state.safetensors (parameters, moments, update counts), state.json (TrainState),
//   manifest.json (size and
//                  sha256 of both); written beside, synced, then renamed, so that a step-N folder is always
//                  whole. The newest two are kept.
//   best-N.safetensors   trainable tensors at the best validation loss so far, named in the states that refer
//   to it.
// The data order and dropout masks are functions of (seed, step), so the step is the whole of the sampler's
// state.
#include "harness/api/backend.h"
#include <map>
#include <optional>

namespace dorabench {

struct TrainState {
    int64_t step = 0; // steps done
    int64_t tokens = 0, peak_bytes = 0;
    double seconds = 0, loss = 0; // loss: of the last step
    bool has_validation = false;
    double best_loss = 0;
    int64_t best_step = -1; // steps done at the best validation loss; -1: no file was kept
    std::string best_sha256;
    std::map<std::string, double> max_norms;       // liveness, by group
    int64_t steps_bytes = 0, validation_bytes = 0; // length of steps.jsonl and validation.jsonl
};

class CheckpointStore {
public:
    // fingerprint: of data, tensors and settings; checkpoints with another one are not resumed.
    CheckpointStore(const std::string& run_folder, std::string fingerprint);

    // Error::resources names the path when the disk is full or the folder can't be written; older checkpoints
    // stay whole.
    void save(const TrainState& state, const std::vector<NamedTensor>& tensors);
    // The newest whole checkpoint that fits: damaged ones and those that `accept` refuses (by throwing) are
    // skipped with a warning. accept gets the state and its tensors (mapped).
    using Accept = std::function<void(const TrainState&, const std::vector<NamedTensor>&)>;
    std::optional<TrainState> load_newest(const Accept& accept) const;

    void save_best(TrainState& state,
                   const std::vector<NamedTensor>& tensors); // sets best_step (= step) and best_sha256
    std::vector<NamedTensor> load_best(const TrainState& state) const;

    const std::string& folder() const { return root_; }

private:
    TrainState read_state(const std::string& folder) const; // verified
    void prune(const TrainState& current) const;
    std::string best_path(int64_t step) const;
    std::vector<std::pair<int64_t, std::string>> steps() const; // newest first
    std::string root_, fingerprint_;
};

} // namespace dorabench
