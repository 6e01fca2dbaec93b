#pragma once
// The element-wise mathematics of adapted linears and of dropout masks, one element at a time, for the CPU
// loops here and for CUDA kernels alike. No torch.
#include <cstdint>

#ifdef __CUDACC__
#define DORABENCH_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define DORABENCH_HOST_DEVICE inline __attribute__((always_inline))
#endif

// A CPU loop compiled for several instruction sets; the best is chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__) &&               \
    !defined(__SANITIZE_ADDRESS__)
#define DORABENCH_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DORABENCH_CLONES
#endif

namespace dorabench {

// y = g z + b
template <typename T>
DORABENCH_HOST_DEVICE T compose_element(T gain, T product, T bias) {
    return gain * product + bias;
}

// What one element of dy adds to the gradient of its row's magnitude, before the division by m: dy (y - b) =
// dy g z.
template <typename T>
DORABENCH_HOST_DEVICE T magnitude_term(T dy, T y, T bias) {
    return dy * (y - bias);
}

// Which random words a dropout mask is made of (dropout.h): the key of the step, and two words of the
// counter.
struct PhiloxStream {
    uint32_t key0, key1, site, micro_batch;
};

// One block of Philox-4x32-10 (Salmon et al., SC 2011): four words from a 128-bit counter and a 64-bit key.
DORABENCH_HOST_DEVICE void philox4x32_10(uint32_t counter[4], uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t even = uint64_t(0xD2511F53u) * counter[0];
        const uint64_t odd = uint64_t(0xCD9E8D57u) * counter[2];
        const uint32_t next0 = uint32_t(odd >> 32) ^ counter[1] ^ key0;
        const uint32_t next2 = uint32_t(even >> 32) ^ counter[3] ^ key1;
        counter[1] = uint32_t(odd);
        counter[3] = uint32_t(even);
        counter[0] = next0;
        counter[2] = next2;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

} // namespace dorabench
