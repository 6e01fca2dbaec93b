#pragma once
// Element mathematics that compilers vectorise (and that a .cu file may include), and the attribute that has
// loops compiled for several instruction sets at once, the best chosen when the program starts. Only plain
// functions may carry it.
#include <bit>
#include <cstdint>

#if defined(__CUDACC__)
#define DORABENCH_INLINE __host__ __device__ inline
#else
#define DORABENCH_INLINE inline
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define DORABENCH_CPU_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DORABENCH_CPU_CLONES
#endif

namespace dorabench {

// e^x within about 2 ulp; saturates outside [-87.3, 88.3], keeps NaN. Cody-Waite reduction, Taylor polynomial
// of degree 7 on
// [-ln2/2, ln2/2].
DORABENCH_INLINE float vector_exp(float x) {
    x = x < -87.3f ? -87.3f : x;
    x = x > 88.3f ? 88.3f : x;
    const float shifted = x * 1.44269504f + 12582912.0f; // 1.5 * 2^23: rounds to the nearest integer
    const float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
#if defined(__CUDACC__)
    return p * exp2f(n);
#else
    return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
#endif
}

DORABENCH_INLINE float sigmoid_of(float x) { return 1.0f / (1.0f + vector_exp(-x)); }
DORABENCH_INLINE float silu_of(float x) { return x / (1.0f + vector_exp(-x)); }
// d silu / dx
DORABENCH_INLINE float silu_slope(float x) {
    const float s = sigmoid_of(x);
    return s * (1.0f + x * (1.0f - s));
}

} // namespace dorabench
