#pragma once
// What all kernels need: 16-byte accesses, conversion to float32 and back, sums over a warp and a block, and
// the choice of a kernel by element type and access width.
#include "backends/ops/cuda/kernels.h"
#include "backends/ops/cuda_geometry.h"
#include "backends/ops/kernel_math.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace dorabench::cuda {

__device__ __forceinline__ float wide(float x) { return x; }
__device__ __forceinline__ float wide(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float wide(__half x) { return __half2float(x); }
template <typename S>
__device__ __forceinline__ S narrow(float x);
template <>
__device__ __forceinline__ float narrow<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float x) {
    return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ __half narrow<__half>(float x) {
    return __float2half_rn(x);
}

template <typename S>
struct RoundTo { // float -> S -> float
    __device__ __forceinline__ float operator()(float x) const { return wide(narrow<S>(x)); }
};
template <>
struct RoundTo<float> : NoRounding {};

// V elements that one access moves
template <typename S, int V>
struct alignas(sizeof(S) * V) Pack {
    S v[V];
};
template <int V, typename S>
__device__ __forceinline__ Pack<S, V> load(const S* p) {
    return *reinterpret_cast<const Pack<S, V>*>(p);
}
template <int V, typename S>
__device__ __forceinline__ void store(S* p, const Pack<S, V>& pack) {
    *reinterpret_cast<Pack<S, V>*>(p) = pack;
}

template <typename T>
__device__ __forceinline__ T warp_sum(T x) {
    for (int step = 16; step > 0; step >>= 1) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}
// The sum over the block, in every thread; all threads must call it, blockDim.x a multiple of 32 up to 1024.
template <typename T>
__device__ __forceinline__ T block_sum(T x) {
    __shared__ T parts[32];
    x = warp_sum(x);
    __syncthreads(); // parts may still be read by an earlier call
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    x = threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : T(0);
    return warp_sum(x);
}

template <typename S>
struct Type {
    using type = S;
};
template <int V>
struct Width {
    static constexpr int value = V;
};

// f(Type<S>)
template <typename F>
void by_type(Element e, F f) {
    if (e == Element::f32) f(Type<float>{});
    if (e == Element::bf16) f(Type<__nv_bfloat16>{});
    if (e == Element::f16) f(Type<__half>{});
}
// f(Type<S>, Width<V>) with V = 16 bytes' worth, or 1 where `width` is
template <typename F>
void by_type_and_width(Element e, int width, F f) {
    by_type(e, [&](auto type) {
        using S = typename decltype(type)::type;
        if (width == 1)
            f(type, Width<1>{});
        else
            f(type, Width<geometry::kVectorBytes / int(sizeof(S))>{});
    });
}
inline int bytes_of(Element e) { return e == Element::f32 ? 4 : 2; }

} // namespace dorabench::cuda
