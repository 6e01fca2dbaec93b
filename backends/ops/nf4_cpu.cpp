#include "backends/ops/nf4_cpu.h"
#include "backends/ops/cpu_math.h"
#include "backends/ops/kernel_math.h"
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <algorithm>
#include <bit>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dorabench {
namespace {

constexpr float kTable[16] = {DORABENCH_NF4_TABLE};
constexpr int64_t kGrain = 512; // blocks a thread takes at least
// rows of x above which a matrix and one product are faster (results/LOG.md); 16 bit has a product of its own
constexpr int64_t kMostRows = 4, kMostRows16 = 1;
constexpr int64_t kUnit = 32;        // elements that one step of the vector forms writes
constexpr int64_t kBeyondCache = 16; // MiB of a result that is written past the caches

// A block's scale: stored, or decoded from 8 bits.
struct Scales {
    const float* plain = nullptr;
    const uint8_t* codes = nullptr;
    const float *map = nullptr, *outer = nullptr;
    int64_t each = 1;
    float offset = 0;

    explicit Scales(const Nf4Weight& w) {
        if (!w.nested()) {
            plain = w.absmax.const_data_ptr<float>();
            return;
        }
        codes = w.absmax.const_data_ptr<uint8_t>();
        map = w.nested_map.const_data_ptr<float>(), outer = w.nested_absmax.const_data_ptr<float>();
        each = w.nested_block, offset = float(w.offset);
    }
    float operator[](int64_t block) const {
        if (plain) return plain[block];
        const float product = map[codes[block]] * outer[block / each];
        return product + offset;
    }
};

// The 16 values of a block with this scale, rounded to S.
template <typename S>
void values_of(float scale, S* values) {
    for (int i = 0; i < 16; ++i) values[i] = S(kTable[i] * scale);
}
// To nearest, ties to even, in integers, which compilers vectorise; NaN only from a scale that is one.
template <>
void values_of(float scale, c10::BFloat16* values) {
    if (scale != scale) {
        std::fill(values, values + 16, c10::BFloat16(scale));
        return;
    }
    for (int i = 0; i < 16; ++i) {
        const uint32_t bits = std::bit_cast<uint32_t>(kTable[i] * scale);
        values[i].x = uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
}

template <typename S>
void plain_values(const uint8_t* codes, const S* values, S* y, int64_t count) {
    for (int64_t i = 0; i < count; ++i) y[i] = values[nf4_code(codes[i / 2], int(i % 2))];
}

#if defined(__x86_64__)
#define DORABENCH_AVX2 __attribute__((target("avx2")))

// 16 bytes to 32 codes, the high nibble first
DORABENCH_AVX2 inline void split_codes(const uint8_t* codes, __m128i& first, __m128i& second) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)), low = _mm_set1_epi8(15);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), low), even = _mm_and_si128(bytes, low);
    first = _mm_unpacklo_epi8(high, even), second = _mm_unpackhi_epi8(high, even);
}

DORABENCH_AVX2 inline __m256 chosen(__m128i codes, __m256 lower, __m256 upper) {
    const __m256i index = _mm256_cvtepu8_epi32(codes);
    const __m256 a = _mm256_permutevar8x32_ps(lower, index), b = _mm256_permutevar8x32_ps(upper, index);
    return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

DORABENCH_AVX2 void values_32(const uint8_t* codes, const float* values, float* y, int64_t count, bool past) {
    const __m256 lower = _mm256_loadu_ps(values), upper = _mm256_loadu_ps(values + 8);
    for (int64_t i = 0; i < count; i += kUnit) {
        __m128i half[2];
        split_codes(codes + i / 2, half[0], half[1]);
        for (int h = 0; h < 2; ++h) {
            const __m256 a = chosen(half[h], lower, upper),
                         b = chosen(_mm_srli_si128(half[h], 8), lower, upper);
            float* to = y + i + 16 * h;
            if (past)
                _mm256_stream_ps(to, a), _mm256_stream_ps(to + 8, b);
            else
                _mm256_storeu_ps(to, a), _mm256_storeu_ps(to + 8, b);
        }
    }
}

// The 16 values' low and high bytes, each chosen by its own shuffle.
DORABENCH_AVX2 void values_16(const uint8_t* codes, const uint16_t* values, uint16_t* y, int64_t count,
                              bool past) {
    uint8_t low[16], high[16];
    for (int i = 0; i < 16; ++i) low[i] = uint8_t(values[i] & 255), high[i] = uint8_t(values[i] >> 8);
    const __m128i lows = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low)),
                  highs = _mm_loadu_si128(reinterpret_cast<const __m128i*>(high));
    for (int64_t i = 0; i < count; i += kUnit) {
        __m128i half[2];
        split_codes(codes + i / 2, half[0], half[1]);
        for (int h = 0; h < 2; ++h) {
            const __m128i a = _mm_shuffle_epi8(lows, half[h]), b = _mm_shuffle_epi8(highs, half[h]);
            auto* to = reinterpret_cast<__m128i*>(y + i + 16 * h);
            if (past)
                _mm_stream_si128(to, _mm_unpacklo_epi8(a, b)),
                    _mm_stream_si128(to + 1, _mm_unpackhi_epi8(a, b));
            else
                _mm_storeu_si128(to, _mm_unpacklo_epi8(a, b)),
                    _mm_storeu_si128(to + 1, _mm_unpackhi_epi8(a, b));
        }
    }
}

bool has_avx2() {
    static const bool has = __builtin_cpu_supports("avx2") != 0;
    return has;
}
#endif

// One block's elements out of its 16 values. past: y is written past the caches.
template <typename S>
void block_values(const uint8_t* codes, const S* values, S* y, int64_t count, bool past) {
    int64_t done = 0;
#if defined(__x86_64__)
    past = past && reinterpret_cast<uintptr_t>(y) % 32 == 0;
    if (has_avx2() && sizeof(S) <= 4) {
        done = count / kUnit * kUnit;
        if constexpr (sizeof(S) == 4)
            values_32(codes, values, y, done, past);
        else if constexpr (sizeof(S) == 2)
            values_16(codes, reinterpret_cast<const uint16_t*>(values), reinterpret_cast<uint16_t*>(y), done,
                      past);
    }
#endif
    plain_values(codes + done / 2, values, y + done, count - done);
}

template <typename S>
void whole(const Nf4Weight& weight, S* y) {
    const int64_t n = weight.out * weight.in, block = weight.block;
    const uint8_t* codes = weight.codes.const_data_ptr<uint8_t>();
    const Scales scales(weight);
    const bool past = n * int64_t(sizeof(S)) > (kBeyondCache << 20);
    at::parallel_for(0, weight.blocks(), kGrain, [&](int64_t first, int64_t last) {
        S values[16];
        for (int64_t b = first; b < last; ++b) {
            values_of(scales[b], values);
            block_values(codes + b * block / 2, values, y + b * block, std::min(block, n - b * block), past);
        }
#if defined(__x86_64__)
        _mm_sfence();
#endif
    });
}

// sums[t] = sum_j w[j] x[t, j]; 16 partial sums, so that the order is that of the loop on every processor
DORABENCH_CPU_CLONES void dot_rows(const float* w, const float* x, int64_t rows, int64_t in, float* sums) {
    for (int64_t t = 0; t < rows; ++t) {
        const float* row = x + t * in;
        float part[16] = {};
        int64_t j = 0;
        for (; j + 16 <= in; j += 16)
            for (int i = 0; i < 16; ++i) part[i] += w[j + i] * row[j + i];
        for (; j < in; ++j) part[j % 16] += w[j] * row[j];
        float sum = 0;
        for (int i = 0; i < 16; ++i) sum += part[i];
        sums[t] = sum;
    }
}

} // namespace

void nf4_dequantise_cpu(const Nf4Weight& weight, at::Tensor& y) {
    switch (y.scalar_type()) {
    case at::kFloat:
        return whole(weight, y.mutable_data_ptr<float>());
    case at::kDouble:
        return whole(weight, y.mutable_data_ptr<double>());
    case at::kBFloat16:
        return whole(weight, y.mutable_data_ptr<c10::BFloat16>());
    case at::kHalf:
        return whole(weight, y.mutable_data_ptr<c10::Half>());
    default:
        TORCH_CHECK(false, "[nf4] the weight's dtype must be floating, got ", y.scalar_type());
    }
}

bool nf4_few_rows(const Nf4Weight& weight, int64_t rows) {
    return rows <= (weight.dtype == at::kFloat ? kMostRows : kMostRows16) && weight.in % weight.block == 0 &&
           weight.codes.is_cpu() && weight.dtype != at::kDouble;
}

at::Tensor nf4_product_cpu(const Nf4Weight& weight, const at::Tensor& x) {
    TORCH_CHECK(x.dim() == 2 && x.size(1) == weight.in && nf4_few_rows(weight, x.size(0)),
                "[nf4] x must be a few rows of ", weight.in, ", got ", x.sizes());
    const int64_t rows = x.size(0), in = weight.in, out = weight.out, each = in / weight.block;
    const at::Tensor wide = x.to(at::kFloat).contiguous();
    at::Tensor y = at::empty({rows, out}, wide.options());
    const float* from = wide.const_data_ptr<float>();
    float* to = y.mutable_data_ptr<float>();
    const uint8_t* codes = weight.codes.const_data_ptr<uint8_t>();
    const Scales scales(weight);
    const auto rounded = [&](float value) { // the weight's values are those of its own type
        return weight.dtype == at::kBFloat16 ? float(c10::BFloat16(value))
               : weight.dtype == at::kHalf   ? float(c10::Half(value))
                                             : value;
    };
    at::parallel_for(0, out, std::max<int64_t>(1, kGrain / each), [&](int64_t first, int64_t last) {
        std::vector<float> row(static_cast<size_t>(in)), sums(static_cast<size_t>(rows));
        float values[16];
        for (int64_t i = first; i < last; ++i) {
            for (int64_t b = 0; b < each; ++b) {
                const int64_t block = i * each + b;
                const float scale = scales[block];
                for (int k = 0; k < 16; ++k) values[k] = rounded(kTable[k] * scale);
                block_values(codes + block * weight.block / 2, values, row.data() + b * weight.block,
                             weight.block, false);
            }
            dot_rows(row.data(), from, rows, in, sums.data());
            for (int64_t t = 0; t < rows; ++t) to[t * out + i] = sums[size_t(t)];
        }
    });
    return y.to(x.scalar_type());
}

} // namespace dorabench
