#pragma once
// Element and row mathematics that the CPU loops and the CUDA kernels share, so that what is tested here on
// the CPU is what a GPU computes: one function an equation, no memory traffic, no torch. `Round` is the
// dtype's rounding (float -> float): the reference code rounds in between, and so do we.
#include "backends/ops/compose_math.h"
#include "backends/ops/cpu_math.h"
#include <cmath>
#include <cstdint>

namespace dorabench {

struct NoRounding {
    DORABENCH_HOST_DEVICE float operator()(float x) const { return x; }
};

// --- RMSNorm: y = w round(x rstd);  dx = rstd (g - x rstd^2 mean(g x)), g = dy w
// -------------------------------
DORABENCH_HOST_DEVICE float rms_rstd(float square_sum, int64_t n, float eps) {
    return 1.0f / sqrtf(square_sum / static_cast<float>(n) + eps);
}
template <typename Round>
DORABENCH_HOST_DEVICE float rms_element(float x, float weight, float rstd, Round round) {
    return weight * round(x * rstd);
}
DORABENCH_HOST_DEVICE float rms_pull(float dot, float rstd, int64_t n) { // dot = sum g x
    return dot * rstd * rstd / static_cast<float>(n);
}
DORABENCH_HOST_DEVICE float rms_slope(float dy, float x, float weight, float rstd, float pull) {
    return rstd * (dy * weight - x * pull);
}

// --- RoPE: the pair (a, b) turned by an angle; sin < 0 turns back
// ------------------------------------------------
template <typename Round>
DORABENCH_HOST_DEVICE void rope_pair(float& a, float& b, float cos, float sin, Round round) {
    const float first = round(a * cos) - round(b * sin);
    b = round(b * cos) + round(a * sin);
    a = first;
}

// --- SwiGLU: y = round(silu(gate)) up
// ----------------------------------------------------------------------------
template <typename Round>
DORABENCH_HOST_DEVICE float swiglu_element(float gate, float up, Round round) {
    return round(silu_of(gate)) * up;
}
DORABENCH_HOST_DEVICE void swiglu_slopes(float dy, float gate, float up, float& dgate, float& dup) {
    const float s = sigmoid_of(gate), silu = gate * s;
    dup = dy * silu;
    dgate = dy * up * (s + silu * (1.0f - s));
}

// --- Softmax in one pass (arXiv:1805.02867): the running maximum and the sum of e^(x - maximum)
// ------------------
struct OnlineSoftmax {
    float top = -INFINITY, sum = 0;
};
DORABENCH_HOST_DEVICE OnlineSoftmax merge(const OnlineSoftmax& a, const OnlineSoftmax& b) {
    OnlineSoftmax out;
    out.top = a.top > b.top ? a.top : b.top;
    if (b.top != b.top) out.top = b.top; // NaN goes through
    // an empty part (top = -inf) contributes nothing, whatever the other is
    out.sum =
        (a.sum == 0 ? 0 : a.sum * expf(a.top - out.top)) + (b.sum == 0 ? 0 : b.sum * expf(b.top - out.top));
    return out;
}
DORABENCH_HOST_DEVICE void push(OnlineSoftmax& state, float x) {
    if (!(x <= state.top)) {
        state.sum = (state.sum == 0 ? 0 : state.sum * expf(state.top - x)) + 1.0f;
        state.top = x;
    } else if (x > -INFINITY) { // a first -inf would give inf - inf
        state.sum += expf(x - state.top);
    }
}
// -scale log softmax(x)[label], from the label's logit
DORABENCH_HOST_DEVICE float cross_entropy_loss(const OnlineSoftmax& row, float target, float scale) {
    return scale * (logf(row.sum) + (row.top - target));
}
DORABENCH_HOST_DEVICE float cross_entropy_slope(float x, bool is_label, const OnlineSoftmax& row,
                                                float scale) {
    return scale * (expf(x - row.top) / row.sum - (is_label ? 1.0f : 0.0f));
}

// --- Dropout: kept where the word is below 2^32 (1 - p) (dropout.h)
// ----------------------------------------------
template <typename A>
DORABENCH_HOST_DEVICE A dropout_element(A x, uint32_t word, uint64_t threshold, A scale) {
    return word < threshold ? x * scale : A(0);
}

// --- DoRA's norm, one row: c^2 = w2 + 2 s u.b + s^2 (b G).b (dora_norm.h)
// ----------------------------------------
struct NormParts {
    double linear = 0, square = 0; // u.b and (b G).b
};
// The share of column k: u = U[i, k], b = B[i, k]; against: (B G)[i, k]
DORABENCH_HOST_DEVICE void norm_push(NormParts& parts, float u, float b, float against) {
    parts.linear += double(u) * double(b);
    parts.square += double(against) * double(b);
}
// c^2 >= 0; weak: the terms cancel below a hundredth of their sum and the row must be taken from W + s B A
DORABENCH_HOST_DEVICE double norm_square(double w2, const NormParts& parts, double scaling, bool& weak) {
    const double linear = 2 * scaling * parts.linear, square = scaling * scaling * parts.square;
    const double sum = w2 + linear + square;
    weak = (sum > 0 ? sum : 0) < 1e-2 * (w2 + (linear < 0 ? -linear : linear) + square);
    return sum > 0 ? sum : 0;
}

// --- NF4 (bitsandbytes): two codes a byte, the first element in the high nibble
// ----------------------------------
#define DORABENCH_NF4_TABLE                                                                                  \
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,         \
        -0.18477343022833334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,      \
        0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,               \
        0.7229568362236023f, 1.0f
DORABENCH_HOST_DEVICE uint32_t nf4_code(uint8_t byte, int odd) {
    return odd ? byte & 15u : uint32_t(byte) >> 4;
}

// Eight elements out of four bytes, in the weight's type; table is in shared memory on a device
template <typename Round>
DORABENCH_HOST_DEVICE void nf4_eight(const uint8_t* bytes, const float* table, float scale, float* w,
                                     Round round) {
    for (int i = 0; i < 8; ++i) w[i] = round(table[nf4_code(bytes[i / 2], i % 2)] * scale);
}
DORABENCH_HOST_DEVICE float nf4_dot_eight(const float* w, const float* x, float sum) {
    for (int i = 0; i < 8; ++i) sum += w[i] * x[i];
    return sum;
}

} // namespace dorabench
