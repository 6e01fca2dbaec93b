#pragma once
// Whether every parameter group has had a gradient and has moved: the measure behind the liveness check.
// Steps whose learning rate is 0 do not count.
#include "harness/train/optimizer.h"
#include "harness/train/train.h"

namespace dorabench {

class LivenessTracker {
public:
    // Remembers where the tensors stand; to be made before a checkpoint is loaded.
    explicit LivenessTracker(const std::vector<TrainableTensor>& tensors);
    void observe(const GradientNorms& norms, const Optimizer& optimizer, double factor);
    // moved: the group's largest |p - p0| over the largest |p0| of its tensor (absolute where p0 is zero
    // throughout).
    std::map<std::string, GroupLiveness> result() const;

    const std::map<std::string, double>& max_norms() const { return max_norms_; }
    void restore(const std::map<std::string, double>& max_norms);

private:
    struct Start {
        TrainableTensor tensor;
        at::Tensor sample;
        double scale;
    };
    std::vector<Start> starts_;
    std::map<std::string, double> max_norms_;
};

} // namespace dorabench
