#include "backends/ops/row_math.h"
#include "backends/ops/cpu_math.h"
#include <cmath>

namespace dorabench {
namespace {

constexpr int64_t kLanes = 16; // partial results, so that the loops vectorise

DORABENCH_CPU_CLONES float maximum(const float* x, int64_t n) {
    float lanes[kLanes];
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] = -INFINITY;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (int64_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    float top = -INFINITY;
    for (int64_t j = 0; j < kLanes; ++j) top = lanes[j] > top ? lanes[j] : top;
    for (; i < n; ++i) top = x[i] > top ? x[i] : top;
    return top;
}

DORABENCH_CPU_CLONES float exponentials(float* x, float top, int64_t n) {
    float lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (int64_t j = 0; j < kLanes; ++j) {
            const float e = vector_exp(x[i + j] - top);
            x[i + j] = e;
            lanes[j] += e;
        }
    float sum = 0;
    for (int64_t j = 0; j < kLanes; ++j) sum += lanes[j];
    for (; i < n; ++i) sum += x[i] = vector_exp(x[i] - top);
    return sum;
}

DORABENCH_CPU_CLONES float exponential_sum(const float* x, float top, int64_t n) {
    float lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (int64_t j = 0; j < kLanes; ++j) lanes[j] += vector_exp(x[i + j] - top);
    float sum = 0;
    for (int64_t j = 0; j < kLanes; ++j) sum += lanes[j];
    for (; i < n; ++i) sum += vector_exp(x[i] - top);
    return sum;
}

DORABENCH_CPU_CLONES void multiply(float* x, float factor, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

} // namespace

float row_maximum(const float* x, int64_t n) { return maximum(x, n); }

int64_t row_argmax(const float* x, int64_t n) {
    const float top = maximum(x, n);
    for (int64_t i = 0; i < n; ++i)
        if (x[i] == top) return i;
    return 0;
}

float row_exponentials(float* x, float top, int64_t n) { return exponentials(x, top, n); }

double row_log_sum_exp(const float* x, int64_t n) {
    const float top = maximum(x, n);
    if (std::isinf(top)) return top;
    return std::log(static_cast<double>(exponential_sum(x, top, n))) + top;
}

void row_multiply(float* x, float factor, int64_t n) { multiply(x, factor, n); }

} // namespace dorabench
