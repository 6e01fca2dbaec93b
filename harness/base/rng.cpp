#include "harness/base/rng.h"
#include "harness/base/error.h"
#include <bit>
#include <cmath>

namespace dorabench {

namespace {

// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014): the seeder that xoshiro's
// authors advise.
uint64_t splitmix64(uint64_t& state) {
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// Natural logarithm from +, *, / alone: libm's differs in the last bit between machines, and these bits are
// promised to be the same everywhere. log(m 2^e) = e log 2 + 2 atanh((m - 1) / (m + 1)), m in [sqrt 1/2, sqrt
// 2).
double portable_log(double x) {
    int exponent = 0;
    double m = std::frexp(x, &exponent); // exact
    if (m < 0.70710678118654752440) {
        m *= 2;
        --exponent;
    }
    double s = (m - 1) / (m + 1), square = s * s, sum = 0;
    for (int k = 25; k >= 1; k -= 2) sum = sum * square + 1.0 / k; // |s| < 0.1716: the rest is below 1e-19
    return exponent * 0.69314718055994530942 + 2 * s * sum;
}

} // namespace

uint64_t stream_seed(uint64_t seed, std::string_view stream) {
    uint64_t name = 0xCBF29CE484222325u; // FNV-1a
    for (char c : stream) name = (name ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    uint64_t state = seed, mixed = splitmix64(state) ^ name;
    return splitmix64(mixed);
}

Rng::Rng(uint64_t seed, std::string_view stream) {
    uint64_t state = stream_seed(seed, stream);
    for (auto& word : state_) word = splitmix64(state);
}

// Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2018): xoshiro256**.
uint64_t Rng::next() {
    uint64_t result = std::rotl(state_[1] * 5, 7) * 9, shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
}

// Lemire, "Fast random integer generation in an interval" (2019): a wide product, and rejection of the few
// low parts that would favour some values.
uint64_t Rng::below(uint64_t bound) {
    if (bound == 0) throw Error::internal("Rng::below needs a bound of at least 1, got 0");
    uint64_t rejected = (0 - bound) % bound; // 2^64 mod bound
    for (;;) {
        auto product = static_cast<unsigned __int128>(next()) * bound;
        if (static_cast<uint64_t>(product) >= rejected) return static_cast<uint64_t>(product >> 64);
    }
}

double Rng::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

double Rng::normal() { // Marsaglia's polar method; the second value is thrown away so that the state stays
                       // four words
    for (;;) {
        double x = 2 * uniform() - 1, y = 2 * uniform() - 1, square = x * x + y * y;
        if (square > 0 && square < 1) return x * std::sqrt(-2 * portable_log(square) / square);
    }
}

} // namespace dorabench
