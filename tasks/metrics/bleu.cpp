#include "tasks/metrics/bleu.h"

#include "tasks/metrics/words.h"
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

namespace dorabench {

void BleuStatistics::add(const BleuStatistics& other, double times) {
    for (size_t n = 0; n < 4; ++n) {
        correct[n] += times * other.correct[n];
        guessed[n] += times * other.guessed[n];
    }
    length += times * other.length;
    reference_length += times * other.reference_length;
}

BleuStatistics bleu_statistics(const std::string& candidate, const std::vector<std::string>& references) {
    BleuStatistics out;
    const auto words = split_white_space(candidate);
    const auto length = static_cast<int64_t>(words.size());
    out.length = static_cast<double>(length);
    std::unordered_map<std::string, int64_t> most; // per n-gram, the largest count in one reference
    int64_t closest = -1;
    for (const std::string& reference : references) {
        const auto reference_words = split_white_space(reference);
        const auto size = static_cast<int64_t>(reference_words.size());
        for (const auto& [ngram, count] : count_ngrams(reference_words, 4)) {
            int64_t& seen = most[ngram];
            seen = std::max(seen, count);
        }
        int64_t distance = std::llabs(size - length), best = std::llabs(closest - length);
        if (closest < 0 || distance < best || (distance == best && size < closest)) closest = size;
    }
    out.reference_length = static_cast<double>(std::max<int64_t>(closest, 0));
    for (int64_t n = 1; n <= 4; ++n)
        out.guessed[static_cast<size_t>(n - 1)] = static_cast<double>(std::max<int64_t>(0, length - n + 1));
    for (const auto& [ngram, count] : count_ngrams(words, 4)) {
        auto found = most.find(ngram);
        if (found != most.end())
            out.correct[ngram_order(ngram) - 1] += static_cast<double>(std::min(count, found->second));
    }
    return out;
}

std::array<double, 4> bleu(const BleuStatistics& statistics) {
    constexpr double kTiny = 1e-15, kSmall = 1e-9; // the script's guards against 0 / 0
    std::array<double, 4> out{};
    double product = 1;
    for (size_t n = 0; n < 4; ++n) {
        product *= (statistics.correct[n] + kTiny) / (statistics.guessed[n] + kSmall);
        out[n] = std::pow(product, 1.0 / static_cast<double>(n + 1));
    }
    double ratio = (statistics.length + kTiny) / (statistics.reference_length + kSmall);
    if (ratio < 1)
        for (double& value : out) value *= std::exp(1 - 1 / ratio);
    return out;
}

} // namespace dorabench
