#pragma once
// The inside of train(): one object for one run. Everything that outlives a kill is in `state_`, the tensors
// and the optimizer; everything else is a function of (settings, data, seed, step).
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/train/batcher.h"
#include "harness/train/checkpoint.h"
#include "harness/train/liveness.h"
#include "harness/train/peers.h"
#include "harness/train/rows.h"

namespace dorabench {

class Trainer {
public:
    Trainer(Backend& backend, AdapterSet& adapter, const TrainSettings& settings, const TrainingData& data,
            uint64_t seed, const std::string& folder, const std::atomic<int>& stop, Peers* peers,
            const std::string& base_name);
    TrainOutcome run();

private:
    struct StepResult {
        double loss = 0;
        GradientNorms norms;
        int64_t tokens = 0;
    };

    std::string fingerprint(const TrainingData& data) const;
    void resume();
    void open_logs();
    void train_step();
    StepResult forward_backward(const std::vector<int64_t>& batch);
    double own_micro_batches(const std::vector<int64_t>& batch); // micro_batches(), out of memory explained
    double micro_batches(const std::vector<int64_t>& batch);     // this process's part of the batch's loss;
                                                                 // gradients are left on the tensors
    [[noreturn]] void not_finite(const StepResult& result, const std::vector<int64_t>& batch) const;
    void validate_if_due();
    double validation_loss();
    double own_validation_sum(double& weight); // weight: of all validation rows
    void save();
    void keep(); // adapters/step-N
    void restore_best();
    TrainOutcome outcome() const;

    Backend& backend_;
    AdapterSet& adapter_;
    const TrainSettings& settings_;
    uint64_t seed_;
    std::string folder_;
    std::string base_name_;
    const std::atomic<int>& stop_;
    Peers* peers_;          // null: this process alone
    bool writes_;           // the run's folder: process 0
    bool stopping_ = false; // some process was asked to stop
    TrainingRows rows_, validation_;
    Batcher batcher_;
    Optimizer optimizer_;
    LivenessTracker liveness_;
    int64_t total_ = 0;
    CheckpointStore checkpoints_;
    TrainState state_;
    int64_t saved_step_ = -1; // of the newest checkpoint
    LineAppender steps_, validation_log_;
};

} // namespace dorabench
