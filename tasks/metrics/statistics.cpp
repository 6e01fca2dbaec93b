#include "tasks/metrics/statistics.h"
#include "harness/base/error.h"
#include "harness/base/rng.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace dorabench {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double check_probability(const char* function, double p) {
    if (!(p >= 0 && p <= 1)) throw Error::internal(function, ": expected a probability in [0, 1], got ", p);
    return p;
}

// ln B(a, b) = ln G(a) + ln G(b) - ln G(a + b). For a large first argument and a small second the three
// logarithms cancel, so that G(a + 1/2) / G(a) comes from its asymptotic series there.
double log_beta_half(double a) { // b = 1/2
    const double log_gamma_half = 0.57236494292470008707;
    if (a < 40) return std::lgamma(a) + log_gamma_half - std::lgamma(a + 0.5);
    double inverse = 1 / a, square = inverse * inverse;
    double ratio = 0.5 * std::log(a) -
                   inverse * (0.125 - square * (1.0 / 192 - square * (1.0 / 640 - square * 17.0 / 14336)));
    return log_gamma_half - ratio;
}

// The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz' method;
// converges quickly for x below (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    auto guard = [&](double v) { return std::fabs(v) < tiny ? tiny : v; };
    double c = 1, d = 1 / guard(1 - (a + b) * x / (a + 1)), h = d;
    for (int m = 1; m <= 2000; ++m) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / guard(1 + even * d);
        c = guard(1 + even / c);
        h *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / guard(1 + odd * d);
        c = guard(1 + odd / c);
        double step = d * c;
        h *= step;
        if (std::fabs(step - 1) < 1e-16) break;
    }
    return h;
}

// P(T > t), t >= 0, for Student's t: I_x(degrees / 2, 1/2) / 2 with x = degrees / (degrees + t^2).
double student_t_tail(double t, double degrees) {
    double a = degrees / 2, b = 0.5, square = t * t;
    double x = degrees / (degrees + square), rest = square / (degrees + square);
    if (rest == 0) return 0.5;
    double log_x = -std::log1p(square / degrees), log_rest = std::log(rest);
    double front = std::exp(a * log_x + b * log_rest - log_beta_half(a));
    if (x < (a + 1) / (a + b + 2)) return 0.5 * front * beta_fraction(a, b, x) / a;
    return 0.5 * (1 - front * beta_fraction(b, a, rest) / b);
}

bool only_zero_and_one(const std::vector<double>& scores) {
    return std::all_of(scores.begin(), scores.end(), [](double s) { return s == 0 || s == 1; });
}

double percentile(const std::vector<double>& sorted, double q) { // linear between order statistics
    double at = q * static_cast<double>(sorted.size() - 1);
    auto low = static_cast<size_t>(at);
    if (low + 1 >= sorted.size()) return sorted.back();
    return sorted[low] + (at - static_cast<double>(low)) * (sorted[low + 1] - sorted[low]);
}

void check_paired(const char* function, const std::vector<double>& a, const std::vector<double>& b) {
    if (a.size() != b.size())
        throw Error::data(function, ": expected scores of the same items, got ", a.size(), " and ", b.size(),
                          " of them");
}

} // namespace

double normal_quantile(double p) {
    check_probability("normal_quantile", p);
    if (p == 0) return -kInfinity;
    if (p == 1) return kInfinity;
    if (p > 0.5) return -normal_quantile(1 - p); // 1 - p is exact here
    if (p == 0.5) return 0;
    // Newton on ln P(X < x) = ln p: concave and increasing, so that it converges from everywhere and far into
    // the tail.
    const double root_half = 0.70710678118654752440, root_two_pi = 2.50662827463100050242;
    double target = std::log(p), x = p > 1e-3 ? 0.0 : -std::sqrt(-2 * target);
    for (int i = 0; i < 100; ++i) {
        double below = 0.5 * std::erfc(-x * root_half);
        double density = std::exp(-0.5 * x * x) / root_two_pi;
        double step = (std::log(below) - target) * below / density;
        if (!std::isfinite(step)) break;
        x -= step;
        if (std::fabs(step) <= 4e-16 * std::max(1.0, std::fabs(x))) break;
    }
    return x;
}

double student_t_quantile(double p, double degrees) {
    check_probability("student_t_quantile", p);
    if (!(degrees > 0)) throw Error::internal("student_t_quantile: expected degrees above 0, got ", degrees);
    if (std::isinf(degrees)) return normal_quantile(p);
    if (p == 0 || p == 1) return p == 0 ? -kInfinity : kInfinity;
    if (p == 0.5) return 0;
    if (degrees >
        1e6) { // Cornish and Fisher's expansion; the next term is below 1e-8 of the last even at |z| = 38
        double z = normal_quantile(p), cube = z * z * z;
        return z + (cube + z) / (4 * degrees) +
               (5 * cube * z * z + 16 * cube + 3 * z) / (96 * degrees * degrees);
    }
    if (p < 0.5) {
        double low = 0, high = 1;
        while (student_t_tail(high, degrees) > p && high < 1e300) low = high, high *= 2;
        for (int i = 0; i < 200 && high - low > 1e-16 * high; ++i) { // bisection: as exact as the tail is
            double middle = low + (high - low) / 2;
            (student_t_tail(middle, degrees) > p ? low : high) = middle;
        }
        return -(low + (high - low) / 2);
    }
    return -student_t_quantile(1 - p, degrees);
}

Interval wilson_interval(int64_t successes, int64_t n, double confidence) {
    if (n <= 0) return {0, 1};
    if (successes < 0 || successes > n)
        throw Error::internal("wilson_interval: expected 0 to ", n, " successes, got ", successes);
    double z = normal_quantile(0.5 + confidence / 2), count = static_cast<double>(n);
    double p = static_cast<double>(successes) / count, square = z * z / count;
    double centre = (p + square / 2) / (1 + square);
    double half = z * std::sqrt(p * (1 - p) / count + square / (4 * count)) / (1 + square);
    Interval out{std::max(0.0, centre - half), std::min(1.0, centre + half)};
    if (successes == 0) out.low = 0; // exactly, whatever the rounding
    if (successes == n) out.high = 1;
    return out;
}

Measurement mean_measurement(const std::vector<double>& scores) {
    Measurement out;
    out.n = static_cast<int64_t>(scores.size());
    if (scores.empty()) {
        out.missing = true;
        return out;
    }
    double n = static_cast<double>(scores.size());
    out.value = std::accumulate(scores.begin(), scores.end(), 0.0) / n;
    if (only_zero_and_one(scores)) {
        out.stderr_ = std::sqrt(out.value * (1 - out.value) / n);
        auto successes = static_cast<int64_t>(std::count(scores.begin(), scores.end(), 1.0));
        Interval interval = wilson_interval(successes, out.n);
        out.ci_low = interval.low;
        out.ci_high = interval.high;
        return out;
    }
    double squares = 0;
    for (double score : scores) squares += (score - out.value) * (score - out.value);
    out.stderr_ = scores.size() > 1 ? std::sqrt(squares / (n - 1) / n) : 0;
    double half = normal_quantile(0.975) * out.stderr_;
    out.ci_low = out.value - half;
    out.ci_high = out.value + half;
    return out;
}

McNemar mcnemar_counts(int64_t b, int64_t c) {
    if (b < 0 || c < 0)
        throw Error::internal("mcnemar_counts: expected counts of at least 0, got ", b, " and ", c);
    McNemar out;
    out.b = b;
    out.c = c;
    int64_t n = b + c, k = std::min(b, c);
    if (n == 0) return out;
    using Wide = long double; // lgamma of counts in the millions keeps its digits
    auto count = [](int64_t v) { return static_cast<Wide>(v); };
    Wide log_top = std::lgamma(count(n) + 1) - std::lgamma(count(k) + 1) - std::lgamma(count(n - k) + 1) -
                   count(n) * std::log(Wide(2));
    Wide term = std::exp(log_top), top = term, sum = 0;
    for (int64_t i = k; i >= 0 && term > 0; --i) {
        sum += term;
        if (term < sum * 1e-20L) break;
        term *= count(i) / count(n - i + 1);
    }
    Wide exact = std::min(Wide(1), 2 * sum);
    if (b == c) exact = 1;
    out.p_exact = static_cast<double>(exact);
    out.p_mid = static_cast<double>(std::max(Wide(0), exact - top));
    return out;
}

McNemar mcnemar(const std::vector<double>& a, const std::vector<double>& b) {
    check_paired("mcnemar", a, b);
    int64_t only_a = 0, only_b = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        if (!(a[i] == 0 || a[i] == 1) || !(b[i] == 0 || b[i] == 1))
            throw Error::data("mcnemar: expected scores of 0 or 1, got ", a[i], " and ", b[i], " at item ",
                              i + 1, "; use the paired bootstrap for other scores");
        only_a += a[i] > b[i];
        only_b += a[i] < b[i];
    }
    return mcnemar_counts(only_a, only_b);
}

PairedBootstrap paired_bootstrap(const std::vector<double>& a, const std::vector<double>& b, int resamples,
                                 uint64_t seed, double confidence) {
    check_paired("paired_bootstrap", a, b);
    PairedBootstrap out;
    if (a.empty() || resamples <= 0) return out;
    std::vector<double> differences(a.size());
    for (size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
    double n = static_cast<double>(a.size());
    out.difference = std::accumulate(differences.begin(), differences.end(), 0.0) / n;
    Rng rng(seed, "paired bootstrap");
    std::vector<double> means(static_cast<size_t>(resamples));
    for (double& mean : means) {
        double sum = 0;
        for (size_t i = 0; i < differences.size(); ++i) sum += differences[rng.below(differences.size())];
        mean = sum / n;
    }
    std::sort(means.begin(), means.end());
    out.interval = {percentile(means, (1 - confidence) / 2), percentile(means, (1 + confidence) / 2)};
    auto at_most = std::upper_bound(means.begin(), means.end(), 0.0) - means.begin();
    auto at_least = means.end() - std::lower_bound(means.begin(), means.end(), 0.0);
    // + 1: the observed sample is one of the resamples that might have been, so that p is never 0
    double tail = static_cast<double>(std::min(at_most, at_least) + 1) / (resamples + 1.0);
    out.p = std::min(1.0, 2 * tail);
    return out;
}

std::vector<double> holm(std::vector<double> p) {
    std::vector<size_t> order(p.size());
    std::iota(order.begin(), order.end(), size_t(0));
    std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return p[i] < p[j]; });
    double largest = 0;
    for (size_t i = 0; i < order.size(); ++i) {
        largest = std::max(largest, std::min(1.0, static_cast<double>(order.size() - i) * p[order[i]]));
        p[order[i]] = largest;
    }
    return p;
}

double minimum_detectable_difference(int64_t n, double discordance, double alpha, double power) {
    if (n <= 0) return 1;
    check_probability("minimum_detectable_difference: discordance", discordance);
    double z = normal_quantile(1 - alpha / 2) + normal_quantile(power);
    return std::min(1.0, z * std::sqrt(discordance / static_cast<double>(n)));
}

} // namespace dorabench
