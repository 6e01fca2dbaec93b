#pragma once
// N-grams of order 1..4 as small numbers, so that scorers count, compare and weigh integers instead of joined
// strings. Equal n-grams have equal numbers, exactly: a number stands for (the n-gram without its last word,
// that word), not for a hash.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dorabench {

struct NgramCount {
    uint32_t number = 0;
    int64_t count = 0;
};
using NgramCounts = std::array<std::vector<NgramCount>, 4>; // by order - 1; each ascending by number

class NgramNumbers {
public:
    // base: its n-grams keep their numbers, new ones are numbered behind them; base is not changed and must
    // outlive this.
    explicit NgramNumbers(const NgramNumbers* base = nullptr);
    // The n-grams of a text whose words white space separates; those not met before get the next numbers.
    NgramCounts count(std::string_view text);
    uint32_t size() const { return next_; } // above every number given

private:
    static constexpr uint64_t kEmpty = ~uint64_t(0); // no pair has it: numbers end before
    struct Slot {
        uint64_t pair = kEmpty; // prefix's number << 32 | word's number
        uint32_t number = 0;
    };
    struct Hash {
        using is_transparent = void;
        size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
    };
    uint32_t word(std::string_view text);
    uint32_t longer(uint32_t prefix, uint32_t word);
    size_t place(uint64_t pair) const; // of the pair, or of the empty slot where it belongs
    void grow();

    const NgramNumbers* base_;
    std::unordered_map<std::string, uint32_t, Hash, std::equal_to<>> words_;
    std::vector<Slot> slots_; // open addressing; a power of two, at most half full
    size_t used_ = 0;
    uint32_t next_;
};

} // namespace dorabench
