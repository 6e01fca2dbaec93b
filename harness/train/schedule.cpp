// Schedules and the number of steps, as HF transformers defines them (optimization.py:
// get_*_schedule_with_warmup; trainer.py: an epoch has ceil(examples / batch) updates, training ceil(epochs *
// that)).
#include "harness/base/error.h"
#include "harness/train/train.h"
#include <algorithm>
#include <cmath>
#include <numbers>

namespace dorabench {

namespace {

int64_t warmup_steps(const TrainSettings& settings, int64_t total) {
    if (settings.warmup_steps > 0) return settings.warmup_steps;
    return int64_t(std::ceil(double(total) * settings.warmup_ratio));
}

} // namespace

int64_t total_steps_of(const TrainSettings& settings, int64_t steps_per_epoch) {
    if (settings.max_steps > 0) return settings.max_steps;
    return int64_t(std::ceil(settings.epochs * double(steps_per_epoch)));
}

int64_t total_steps(const TrainSettings& settings, int64_t examples) {
    const int64_t batch = std::max<int64_t>(1, settings.batch_size);
    return total_steps_of(settings, (examples + batch - 1) / batch);
}

double schedule_factor(const TrainSettings& settings, int64_t step, int64_t total_steps) {
    const int64_t warmup = warmup_steps(settings, total_steps);
    if (step < warmup) return double(step) / double(std::max<int64_t>(1, warmup));
    const double left = double(std::max<int64_t>(1, total_steps - warmup));
    if (settings.scheduler == "constant") return 1.0;
    if (settings.scheduler == "linear") return std::max(0.0, double(total_steps - step) / left);
    if (settings.scheduler == "cosine") {
        const double progress = double(step - warmup) / left;
        return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
    }
    throw Error::config("train.scheduler: expected linear, cosine or constant, got \"", settings.scheduler,
                        "\"");
}

} // namespace dorabench
