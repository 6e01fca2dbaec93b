#pragma once
// Statistics of scores: all in float64, all seeded. Sources: Wilson 1927; McNemar 1947 (exact binomial form);
// Efron's percentile bootstrap; Holm 1979.
#include "harness/api/types.h"
#include <cstdint>
#include <string>
#include <vector>

namespace dorabench {

struct Interval {
    double low = 0, high = 0;
};
Interval wilson_interval(int64_t successes, int64_t n,
                         double confidence = 0.95);  // no continuity correction; n 0: [0, 1]
double normal_quantile(double p);                    // p in [0, 1]; infinite at the ends
double student_t_quantile(double p, double degrees); // degrees > 0, not necessarily whole
// Mean with standard error; 0/1 scores get sqrt(p (1 - p) / n) and Wilson's interval, others the sample's
// error and a normal interval. Empty: missing.
Measurement mean_measurement(const std::vector<double>& scores);
// b: items that only the first got right, c: only the second. p_mid = p_exact - P(X = min(b, c)).
struct McNemar {
    int64_t b = 0, c = 0;
    double p_exact = 1, p_mid = 1;
};
McNemar mcnemar(const std::vector<double>& a, const std::vector<double>& b); // paired 0/1 scores
McNemar mcnemar_counts(int64_t b, int64_t c);
// Percentile interval over resampled items; p is two-sided, twice the smaller share of resamples on the far
// side of 0 (the sample itself counted, so that it is never 0).
struct PairedBootstrap {
    double difference = 0;
    Interval interval;
    double p = 1;
}; // mean(a) - mean(b)
PairedBootstrap paired_bootstrap(const std::vector<double>& a, const std::vector<double>& b,
                                 int resamples = 10000, uint64_t seed = 0, double confidence = 0.95);
std::vector<double> holm(std::vector<double> p); // adjusted p values, in the given order
// The smallest difference of two paired accuracies that n items with discordance p_d (share of items on which
// the two disagree) resolve at a two-sided alpha with the given power: (z_{1-alpha/2} + z_power) sqrt(p_d /
// n), Connor 1987 with the small square of the difference left out. A fraction, at most 1.
double minimum_detectable_difference(int64_t n, double discordance, double alpha = 0.05, double power = 0.8);

} // namespace dorabench
