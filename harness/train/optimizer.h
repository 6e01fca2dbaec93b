#pragma once
// AdamW over an adapter's trainable tensors, in parameter groups, with torch's gradient clipping. As in torch
// a tensor that got no gradient in a step is left alone, its step count too.
#include "adapters/adapter_set.h"
#include "harness/api/settings.h"
#include <map>

namespace dorabench {

struct GradientNorms {
    double total = 0;                       // 2-norm over all gradients
    std::map<std::string, double> by_group; // by TrainableTensor::group
    bool finite() const;
};

class Optimizer {
public:
    // The first entry of settings.groups whose pattern matches a tensor's name gives its rate and decay. A
    // pattern that matches nothing is logged.
    Optimizer(std::vector<TrainableTensor> tensors, const TrainSettings& settings);

    void clear_gradients();
    GradientNorms gradient_norms() const;
    // gradients *= min(1, max_norm / (norm + 1e-6)), torch.nn.utils.clip_grad_norm_
    void clip(double norm, double max_norm);
    void step(double factor); // factor: the schedule's

    double learning_rate(size_t tensor) const { return rates_[tensor]; } // before the schedule
    double weight_decay(size_t tensor) const { return decays_[tensor]; }
    const std::vector<TrainableTensor>& tensors() const { return tensors_; }
    // Whether a group has a tensor that this step's rate moves.
    bool group_learns(const std::string& group, double factor) const;

    // Parameters, both moments and step counts, for checkpoints.
    std::vector<NamedTensor> state() const;
    // All or nothing: Error::data names the first tensor that is missing or has another shape or type.
    void load_state(const std::vector<NamedTensor>& state);

private:
    std::vector<TrainableTensor> tensors_;
    std::vector<at::Tensor> exp_avg_, exp_avg_sq_;
    std::vector<double> rates_, decays_;
    std::vector<int64_t> steps_; // updates each tensor has had
    double beta1_, beta2_, eps_;
};

} // namespace dorabench
