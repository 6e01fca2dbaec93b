#include "backends/ops/dropout.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/kernel_math.h"
#include <algorithm>

namespace dorabench {
namespace {

constexpr int64_t kLanes =
    16; // Philox blocks in flight: their rounds are independent and share vector instructions

uint64_t mix(uint64_t x) { // splitmix64's finaliser
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

PhiloxStream stream_of(const DropoutKey& key) {
    const uint64_t k = mix(mix(key.seed) ^ uint64_t(key.step));
    return {uint32_t(k), uint32_t(k >> 32), key.site, uint32_t(key.micro_batch)};
}

// The 64 words of blocks first … first + 15, in element order.
DORABENCH_CLONES void philox_words(uint64_t first, PhiloxStream s, uint32_t* words) {
    uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) {
        c0[l] = uint32_t(first + uint64_t(l));
        c1[l] = uint32_t((first + uint64_t(l)) >> 32);
        c2[l] = s.site;
        c3[l] = s.micro_batch;
    }
    for (int64_t l = 0; l < kLanes; ++l) {
        uint32_t counter[4] = {c0[l], c1[l], c2[l], c3[l]};
        philox4x32_10(counter, s.key0, s.key1);
        for (int64_t w = 0; w < 4; ++w) words[4 * l + w] = counter[w];
    }
}

// Elements [from, to) of x, which starts at element 0 of its tensor.
template <typename S, typename A>
void drop_range(S* x, int64_t from, int64_t to, uint64_t threshold, A scale, const PhiloxStream& stream) {
    uint32_t words[4 * kLanes];
    int64_t i = from;
    while (i < to) {
        const int64_t start = i / (4 * kLanes) * (4 * kLanes), end = std::min(to, start + 4 * kLanes);
        philox_words(uint64_t(start / 4), stream, words);
        for (; i < end; ++i) x[i] = S(dropout_element<A>(A(x[i]), words[i - start], threshold, scale));
    }
}

template <typename S, typename A>
void drop_cpu(at::Tensor& x, double p, const PhiloxStream& stream) {
    S* data = x.mutable_data_ptr<S>();
    const uint64_t threshold = uint64_t((1.0 - p) * 4294967296.0);
    const A scale = A(1.0 / (1.0 - p));
    at::parallel_for(0, x.numel(), 1 << 14, [&](int64_t from, int64_t to) {
        drop_range<S, A>(data, from, to, threshold, scale, stream);
    });
}

} // namespace

void dropout_(at::Tensor& x, double p, const DropoutKey& key) {
    TORCH_CHECK(p >= 0 && p < 1, "[dropout] p must be in [0, 1), got ", p);
    TORCH_CHECK(x.is_contiguous(), "[dropout] x must be contiguous");
    if (p == 0 || x.numel() == 0) return;
    const PhiloxStream stream = stream_of(key);
    if (const CudaKernels* cuda = kernels_for(x)) return cuda->dropout(x, p, stream);
    if (!x.is_cpu()) { // the same mask, drawn on the CPU
        at::Tensor mask = at::ones(x.sizes(), at::kFloat);
        drop_cpu<float, float>(mask, p, stream);
        x.mul_(mask.to(x.device(), x.scalar_type()));
        return;
    }
    switch (x.scalar_type()) {
    case at::kFloat:
        return drop_cpu<float, float>(x, p, stream);
    case at::kDouble:
        return drop_cpu<double, double>(x, p, stream);
    case at::kBFloat16:
        return drop_cpu<c10::BFloat16, float>(x, p, stream);
    case at::kHalf:
        return drop_cpu<c10::Half, float>(x, p, stream);
    default:
        TORCH_CHECK(false, "[dropout] x must be float32, float64, bfloat16 or float16, got ",
                    x.scalar_type());
    }
}

at::Tensor dropped(const at::Tensor& x, double p, const DropoutKey& key) {
    at::Tensor copy = x.clone(at::MemoryFormat::Contiguous);
    dropout_(copy, p, key);
    return copy;
}

} // namespace dorabench
