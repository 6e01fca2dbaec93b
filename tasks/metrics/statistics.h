#pragma once
// Statistics of scores: all in float64, all seeded. Sources: Wilson 1927; McNemar 1947 (exact binomial form); Efron's
// percentile bootstrap; Holm 1979.
#include "harness/api/types.h"
#include <cstdint>
#include <string>
#include <vector>

namespace dorabench {

struct Interval { double low = 0, high = 0; };
Interval wilson_interval(int64_t successes, int64_t n, double confidence = 0.95); // no continuity correction
double normal_quantile(double p);
double student_t_quantile(double p, double degrees);
// Mean with standard error; 0/1 scores get Wilson's interval, others a normal one (n >= 2).
Measurement mean_measurement(const std::vector<double>& scores);
struct McNemar { int64_t b = 0, c = 0; double p_exact = 1, p_mid = 1; };
McNemar mcnemar(const std::vector<double>& a, const std::vector<double>& b); // paired 0/1 scores
McNemar mcnemar_counts(int64_t b, int64_t c);
struct PairedBootstrap { double difference = 0; Interval interval; double p = 1; }; // mean(a) - mean(b)
PairedBootstrap paired_bootstrap(const std::vector<double>& a, const std::vector<double>& b, int resamples = 10000,
                                 uint64_t seed = 0, double confidence = 0.95);
std::vector<double> holm(std::vector<double> p); // adjusted p values, in the given order
// The smallest difference of two paired accuracies that n items with discordance p_d resolve (two-sided alpha, power).
double minimum_detectable_difference(int64_t n, double discordance, double alpha = 0.05, double power = 0.8);

} // namespace dorabench
