#pragma once
// Named, seeded random streams without torch (data order, synthetic worlds, bootstrap). Portable: the same bits on every
// machine and standard library (no std::uniform_int_distribution).
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace dorabench {

class Rng {
public:
    Rng(uint64_t seed, std::string_view stream);      // one independent stream a name
    uint64_t next();                                   // xoshiro256**, seeded through splitmix64
    uint64_t below(uint64_t bound);                    // uniform in [0, bound), unbiased
    double uniform();                                  // [0, 1)
    double normal();
    template <typename T> void shuffle(std::vector<T>& items) { // Fisher-Yates
        for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
    }
private:
    uint64_t state_[4];
};

// A 64-bit seed for a torch generator of the named stream.
uint64_t stream_seed(uint64_t seed, std::string_view stream);

} // namespace dorabench
