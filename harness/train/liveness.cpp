#include "harness/train/liveness.h"
#include <algorithm>

namespace dorabench {

namespace {

constexpr int64_t kSampled = 1 << 20;

// At most kSampled elements, evenly spaced: a copy of every weight of a fully tuned backbone would double its
// memory.
at::Tensor sample(const at::Tensor& tensor) {
    const int64_t stride = (tensor.numel() + kSampled - 1) / kSampled;
    const at::Tensor flat = tensor.detach().reshape(-1);
    return (stride > 1 ? flat.slice(0, 0, flat.numel(), stride) : flat).to(at::kFloat, false, /*copy=*/true);
}

double largest(const at::Tensor& tensor) {
    return tensor.numel() == 0 ? 0 : tensor.abs().max().item<double>();
}

} // namespace

LivenessTracker::LivenessTracker(const std::vector<TrainableTensor>& tensors) {
    at::NoGradGuard no_grad;
    for (const TrainableTensor& t : tensors) {
        at::Tensor start = sample(t.tensor);
        const double scale = largest(start);
        starts_.push_back({t, std::move(start), scale > 0 ? scale : 1});
        max_norms_[t.group] = 0;
    }
}

void LivenessTracker::observe(const GradientNorms& norms, const Optimizer& optimizer, double factor) {
    for (auto& [group, largest] : max_norms_) {
        const auto at = norms.by_group.find(group);
        if (at != norms.by_group.end() && optimizer.group_learns(group, factor))
            largest = std::max(largest, at->second);
    }
}

std::map<std::string, GroupLiveness> LivenessTracker::result() const {
    at::NoGradGuard no_grad;
    std::map<std::string, GroupLiveness> out;
    for (const auto& [group, norm] : max_norms_) out[group].max_grad_norm = norm;
    for (const Start& start : starts_) {
        GroupLiveness& group = out[start.tensor.group];
        group.moved =
            std::max(group.moved, largest(sample(start.tensor.tensor) - start.sample) / start.scale);
    }
    return out;
}

void LivenessTracker::restore(const std::map<std::string, double>& max_norms) {
    for (auto& [group, largest] : max_norms_) {
        const auto at = max_norms.find(group);
        if (at != max_norms.end()) largest = at->second;
    }
}

} // namespace dorabench
