#include "tasks/metrics/bleu.h"

#include "tasks/metrics/ngrams.h"
#include <algorithm>
#include <cmath>
#include <cstdlib>

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
    NgramNumbers numbers;
    const NgramCounts own = numbers.count(candidate);
    auto words_of = [](const NgramCounts& counts) {
        int64_t words = 0;
        for (const NgramCount& word : counts[0]) words += word.count;
        return words;
    };
    const int64_t length = words_of(own);
    out.length = static_cast<double>(length);
    std::vector<int64_t> most(
        numbers.size()); // of the candidate's n-grams, the largest count in one reference
    int64_t closest = -1;
    for (const std::string& reference : references) {
        const NgramCounts counts = numbers.count(reference);
        for (const auto& order : counts)
            for (const NgramCount& ngram : order)
                if (ngram.number < most.size())
                    most[ngram.number] = std::max(most[ngram.number], ngram.count);
        const int64_t size = words_of(counts);
        int64_t distance = std::llabs(size - length), best = std::llabs(closest - length);
        if (closest < 0 || distance < best || (distance == best && size < closest)) closest = size;
    }
    out.reference_length = static_cast<double>(std::max<int64_t>(closest, 0));
    for (size_t n = 0; n < own.size(); ++n) {
        out.guessed[n] = static_cast<double>(std::max<int64_t>(0, length - static_cast<int64_t>(n)));
        for (const NgramCount& ngram : own[n])
            out.correct[n] += static_cast<double>(std::min(ngram.count, most[ngram.number]));
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
