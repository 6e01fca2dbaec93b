#include "backends/media/image.h"
#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#define DORABENCH_IMAGE_AVX2 1
#endif

// The inner loops for the processor at hand: SSE2 alone has no product of 32-bit integers. The arithmetic is
// of integers, so the bits are the same everywhere. (A sanitizer's checks don't go with the loader's choice.)
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define DORABENCH_IMAGE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DORABENCH_IMAGE_CLONES
#endif

namespace dorabench {
namespace {

constexpr int kFractionBits = 32 - 8 - 2; // PIL's: 8 bits of value, 2 of headroom for overshoot

double bicubic(double x) { // Keys' kernel with a = -0.5
    constexpr double a = -0.5;
    x = std::abs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

struct Taps { // for each output position: first input position and fixed-point weights
    int most = 0;
    std::vector<int> first, count;
    std::vector<int32_t> weight; // [out, most]
};

Taps make_taps(int in, int out) {
    double scale = static_cast<double>(in) / out, stretch = std::max(scale, 1.0), support = 2.0 * stretch;
    Taps taps;
    taps.most = static_cast<int>(std::ceil(support)) * 2 + 2; // one more than there can be: even
    taps.first.resize(out);
    taps.count.resize(out);
    taps.weight.assign(static_cast<size_t>(out) * taps.most, 0);
    std::vector<double> raw(taps.most);
    for (int at = 0; at < out; ++at) {
        double center = (at + 0.5) * scale;
        int first = std::max(0, static_cast<int>(center - support + 0.5));
        int count = std::min(in, static_cast<int>(center + support + 0.5)) - first;
        double sum = 0;
        for (int i = 0; i < count; ++i) sum += raw[i] = bicubic((i + first - center + 0.5) / stretch);
        for (int i = 0; i < count; ++i) {
            double value = (sum != 0 ? raw[i] / sum : raw[i]) * (1 << kFractionBits);
            taps.weight[static_cast<size_t>(at) * taps.most + i] =
                static_cast<int32_t>(value < 0 ? value - 0.5 : value + 0.5);
        }
        taps.first[at] = first;
        taps.count[at] = count;
    }
    return taps;
}

uint8_t to_byte(int32_t fixed) { return static_cast<uint8_t>(std::clamp(fixed >> kFractionBits, 0, 255)); }

// One row, from `width` columns of taps beginning with `begin`.
void resize_row(const uint8_t* row, const Taps& taps, int begin, int width, uint8_t* to) {
    for (int x = 0; x < width; ++x) {
        const int32_t* weight = taps.weight.data() + static_cast<size_t>(begin + x) * taps.most;
        const uint8_t* from = row + taps.first[begin + x] * 3;
        int32_t r = 1 << (kFractionBits - 1), g = r, b = r;
        for (int i = 0; i < taps.count[begin + x]; ++i, from += 3) {
            r += from[0] * weight[i];
            g += from[1] * weight[i];
            b += from[2] * weight[i];
        }
        to[x * 3] = to_byte(r);
        to[x * 3 + 1] = to_byte(g);
        to[x * 3 + 2] = to_byte(b);
    }
}

#if DORABENCH_IMAGE_AVX2
constexpr int kBehind = 8; // bytes that the next function reads behind a row's last pixel

// The same, two taps at a time: [r g b 0 r g b 0] by the tap's weight each. taps.most is even, the weights
// behind a position's last one are 0.
__attribute__((target("avx2"))) void resize_row_avx2(const uint8_t* row, const Taps& taps, int begin,
                                                     int width, uint8_t* to) {
    const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i each = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    for (int x = 0; x < width; ++x) {
        const int32_t* weight = taps.weight.data() + static_cast<size_t>(begin + x) * taps.most;
        const uint8_t* from = row + taps.first[begin + x] * 3;
        __m256i sums = _mm256_setzero_si256();
        for (int i = 0; i < taps.count[begin + x]; i += 2, from += 6) {
            const __m128i two = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
            const __m256i pixels = _mm256_cvtepu8_epi32(_mm_shuffle_epi8(two, spread));
            const __m128i pair = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(weight + i));
            const __m256i weights = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(pair), each);
            sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(pixels, weights));
        }
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << (kFractionBits - 1))), kFractionBits);
        const __m128i bytes = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
        const int32_t four = _mm_cvtsi128_si32(bytes);
        std::memcpy(to + x * 3, &four, 3);
    }
}
#endif

DORABENCH_IMAGE_CLONES
void add_row(const uint8_t* from, int32_t weight, size_t n, int32_t* sums) {
    for (size_t x = 0; x < n; ++x) sums[x] += from[x] * weight;
}

DORABENCH_IMAGE_CLONES
void round_row(const int32_t* sums, size_t n, uint8_t* to) {
    for (size_t x = 0; x < n; ++x) to[x] = to_byte(sums[x]);
}

// Of the image resized to `whole` columns, those from `begin` on, `width` of them; resize_rows the same for
// rows.
Image resize_columns(const Image& image, int whole, int begin, int width) {
    const Taps taps = make_taps(image.width, whole);
    const size_t row = static_cast<size_t>(image.width) * 3;
    Image out{width, image.height, std::vector<uint8_t>(static_cast<size_t>(width) * image.height * 3)};
    auto* resize = resize_row;
    int whole_rows = image.height;
#if DORABENCH_IMAGE_AVX2
    std::vector<uint8_t> last;
    if (__builtin_cpu_supports("avx2")) {
        resize = resize_row_avx2;
        // the last rows are read from a copy with room behind it
        whole_rows = std::max(0, image.height - static_cast<int>((kBehind + row - 1) / row));
        last.assign(image.rgb.begin() + static_cast<ptrdiff_t>(whole_rows * row), image.rgb.end());
        last.resize(last.size() + kBehind);
    }
#endif
    for (int y = 0; y < image.height; ++y) {
        const uint8_t* from = image.rgb.data() + y * row;
#if DORABENCH_IMAGE_AVX2
        if (y >= whole_rows) from = last.data() + (y - whole_rows) * row;
#endif
        resize(from, taps, begin, width, out.rgb.data() + static_cast<size_t>(y) * width * 3);
    }
    return out;
}

Image resize_rows(const Image& image, int whole, int begin, int height) {
    const Taps taps = make_taps(image.height, whole);
    const size_t row = static_cast<size_t>(image.width) * 3;
    Image out{image.width, height, std::vector<uint8_t>(row * height)};
    std::vector<int32_t> sums(row);
    for (int y = 0; y < height; ++y) {
        std::fill(sums.begin(), sums.end(), 1 << (kFractionBits - 1));
        for (int i = 0; i < taps.count[begin + y]; ++i)
            add_row(image.rgb.data() + (taps.first[begin + y] + i) * row,
                    taps.weight[static_cast<size_t>(begin + y) * taps.most + i], row, sums.data());
        round_row(sums.data(), row, out.rgb.data() + y * row);
    }
    return out;
}

struct Window {
    int left = 0, top = 0, width = 0, height = 0;
};

// The window of the image resized to width x height: what is outside is not computed.
Image resize_window(const Image& image, int width, int height, const Window& window) {
    bool rows_first = static_cast<int64_t>(image.height) * width > static_cast<int64_t>(image.width) * height;
    bool rows = height != image.height || window.height != height;
    bool columns = width != image.width || window.width != width;
    if (!rows && !columns) return image;
    Image between;
    if (rows && columns)
        between = rows_first ? resize_rows(image, height, window.top, window.height)
                             : resize_columns(image, width, window.left, window.width);
    const Image& from = rows && columns ? between : image;
    return columns && (rows_first || !rows) ? resize_columns(from, width, window.left, window.width)
                                            : resize_rows(from, height, window.top, window.height);
}

struct Extent {
    int width = 0, height = 0;
};

Extent shorter_side_extent(const Image& image, int side) {
    int64_t shorter = std::min(image.width, image.height), longer = std::max(image.width, image.height);
    // a strip a million times longer than wide would otherwise ask for any amount of memory
    int other =
        static_cast<int>(std::clamp<int64_t>(side * longer / std::max<int64_t>(shorter, 1), 1, 1 << 15));
    return image.width <= image.height ? Extent{side, other} : Extent{other, side};
}

} // namespace

Image resize_bicubic(const Image& image, int width, int height) {
    return resize_window(image, width, height, {0, 0, width, height});
}

Image resize_shorter_side(const Image& image, int side) {
    const Extent extent = shorter_side_extent(image, side);
    return resize_bicubic(image, extent.width, extent.height);
}

Image center_crop(const Image& image, int side) {
    Image out{side, side, std::vector<uint8_t>(static_cast<size_t>(side) * side * 3)};
    auto floor_half = [](int n) { return n >= 0 ? n / 2 : -((1 - n) / 2); };
    int left = floor_half(image.width - side), top = floor_half(image.height - side);
    for (int y = 0; y < side; ++y) {
        int from_y = y + top;
        if (from_y < 0 || from_y >= image.height) continue;
        int x0 = std::max(0, -left), x1 = std::min(side, image.width - left);
        if (x1 <= x0) continue;
        std::memcpy(&out.rgb[(static_cast<size_t>(y) * side + x0) * 3],
                    &image.rgb[(static_cast<size_t>(from_y) * image.width + x0 + left) * 3],
                    static_cast<size_t>(x1 - x0) * 3);
    }
    return out;
}

Image pad_to_square(const Image& image, std::array<uint8_t, 3> colour) {
    if (image.width == image.height) return image;
    int side = std::max(image.width, image.height);
    Image out{side, side, std::vector<uint8_t>(static_cast<size_t>(side) * side * 3)};
    for (size_t i = 0; i < out.rgb.size(); ++i) out.rgb[i] = colour[i % 3];
    int left = (side - image.width) / 2, top = (side - image.height) / 2;
    for (int y = 0; y < image.height; ++y)
        std::memcpy(&out.rgb[(static_cast<size_t>(y + top) * side + left) * 3],
                    &image.rgb[static_cast<size_t>(y) * image.width * 3],
                    static_cast<size_t>(image.width) * 3);
    return out;
}

std::vector<float> normalise(const Image& image, const std::array<float, 3>& mean,
                             const std::array<float, 3>& std_) {
    size_t plane = static_cast<size_t>(image.width) * image.height;
    std::vector<float> out(plane * 3);
    for (size_t channel = 0; channel < 3; ++channel) {
        float table[256]; // one division a value, not a pixel
        for (int value = 0; value < 256; ++value)
            table[value] = (static_cast<float>(value) * (1.0f / 255.0f) - mean[channel]) / std_[channel];
        for (size_t i = 0; i < plane; ++i) out[channel * plane + i] = table[image.rgb[i * 3 + channel]];
    }
    return out;
}

// center_crop of resize_shorter_side, which leaves no side below `side`.
Image clip_crop(const Image& image, int side) {
    const Extent extent = shorter_side_extent(image, side);
    return resize_window(image, extent.width, extent.height,
                         {(extent.width - side) / 2, (extent.height - side) / 2, side, side});
}

Image clip_pad(const Image& image, int side) {
    return clip_crop(pad_to_square(image, kClipMeanColour), side);
}

} // namespace dorabench
