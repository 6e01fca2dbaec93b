#include "tasks/metrics/resampling.h"

#include "harness/base/rng.h"
#include <algorithm>
#include <cmath>

namespace dorabench {

std::vector<Measurement> bootstrap_measurements(
    size_t items, const std::function<std::vector<double>(const std::vector<uint32_t>& times)>& statistic,
    int resamples, uint64_t seed) {
    std::vector<uint32_t> times(items, 1);
    const std::vector<double> values = statistic(times);
    std::vector<Measurement> out(values.size());
    std::vector<std::vector<double>> drawn(values.size());
    Rng rng(seed, "metric bootstrap");
    for (int round = 0; items > 1 && round < resamples; ++round) {
        std::fill(times.begin(), times.end(), 0U);
        for (size_t i = 0; i < items; ++i) ++times[rng.below(items)];
        const std::vector<double> here = statistic(times);
        for (size_t k = 0; k < values.size(); ++k) drawn[k].push_back(here[k]);
    }
    for (size_t k = 0; k < values.size(); ++k) {
        out[k].value = out[k].ci_low = out[k].ci_high = values[k];
        out[k].n = static_cast<int64_t>(items);
        out[k].missing = items == 0;
        auto& sample = drawn[k];
        if (sample.size() < 2) continue;
        auto count = static_cast<double>(sample.size());
        double mean = 0, squares = 0;
        for (double value : sample) mean += value / count;
        for (double value : sample) squares += (value - mean) * (value - mean);
        out[k].stderr_ = std::sqrt(squares / (count - 1));
        std::sort(sample.begin(), sample.end());
        out[k].ci_low = sample[static_cast<size_t>(0.025 * (count - 1))];
        out[k].ci_high = sample[static_cast<size_t>(std::ceil(0.975 * (count - 1)))];
    }
    return out;
}

} // namespace dorabench
