#pragma once
// Standard errors of corpus metrics, which are no means of per-sample scores: the items are drawn anew with
// replacement and the metric is computed from their sufficient statistics (Efron's bootstrap, seeded).
#include "harness/api/types.h"
#include <cstdint>
#include <functional>
#include <vector>

namespace dorabench {

// statistic: metric values from how often every item counts. The first call has every item once and gives the
// values; the interval is the 95 % percentile interval.
std::vector<Measurement> bootstrap_measurements(
    size_t items, const std::function<std::vector<double>(const std::vector<uint32_t>& times)>& statistic,
    int resamples = 1000, uint64_t seed = 0);

} // namespace dorabench
