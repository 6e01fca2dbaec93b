#include "tasks/metrics/ngrams.h"

#include "harness/base/error.h"
#include "tasks/metrics/words.h"
#include <algorithm>
#include <limits>

namespace dorabench {

NgramNumbers::NgramNumbers(const NgramNumbers* base)
    : base_(base), slots_(256), next_(base ? base->size() : 0) {}

size_t NgramNumbers::place(uint64_t pair) const {
    uint64_t mixed = (pair ^ pair >> 29) * 0x9E3779B97F4A7C15ull;
    for (size_t at = mixed >> 32 & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1))
        if (slots_[at].pair == pair || slots_[at].pair == kEmpty) return at;
}

void NgramNumbers::grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old)
        if (slot.pair != kEmpty) slots_[place(slot.pair)] = slot;
}

uint32_t NgramNumbers::word(std::string_view text) {
    if (base_)
        if (auto found = base_->words_.find(text); found != base_->words_.end()) return found->second;
    if (auto found = words_.find(text); found != words_.end()) return found->second;
    words_.emplace(text, next_);
    return next_++;
}

uint32_t NgramNumbers::longer(uint32_t prefix, uint32_t word) {
    const uint64_t pair = uint64_t(prefix) << 32 | word;
    if (base_) {
        const Slot& known = base_->slots_[base_->place(pair)];
        if (known.pair == pair) return known.number;
    }
    Slot& slot = slots_[place(pair)];
    if (slot.pair == pair) return slot.number;
    const uint32_t number = next_++;
    slot = {pair, number};
    if (2 * ++used_ > slots_.size()) grow();
    return number;
}

NgramCounts NgramNumbers::count(std::string_view text) {
    const auto texts = white_space_words(text);
    if (texts.size() > (std::numeric_limits<uint32_t>::max() - next_) / 5)
        throw Error::data("expected texts with fewer than ", std::numeric_limits<uint32_t>::max(),
                          " n-grams in all, got more");
    std::vector<uint32_t> words;
    words.reserve(texts.size());
    for (std::string_view one : texts) words.push_back(word(one));
    NgramCounts out;
    std::vector<uint32_t> numbers = words; // of the order at hand, by first word
    for (size_t order = 1; order <= out.size() && order <= words.size(); ++order) {
        if (order > 1) {
            numbers.resize(words.size() - order + 1);
            for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = longer(numbers[i], words[i + order - 1]);
        }
        std::vector<uint32_t> sorted = numbers;
        std::sort(sorted.begin(), sorted.end());
        auto& counts = out[order - 1];
        counts.reserve(sorted.size());
        for (uint32_t number : sorted)
            if (!counts.empty() && counts.back().number == number)
                ++counts.back().count;
            else
                counts.push_back({number, 1});
    }
    return out;
}

} // namespace dorabench
