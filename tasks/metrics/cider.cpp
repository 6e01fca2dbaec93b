#include "tasks/metrics/cider.h"

#include "harness/base/error.h"
#include "tasks/metrics/ngrams.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>

namespace dorabench {

namespace {

struct Weight {
    uint32_t number = 0; // of the n-gram
    double weight = 0;
};

struct Vector { // tf-idf weights of one text, ascending by number
    std::array<std::vector<Weight>, 4> weights;
    std::array<double, 4> norm{};
    double bigrams = 0; // the original takes the length from these, not from the words
};

// rarity[n-gram]: log(images) - log(images whose references hold it); numbers behind its end are held by
// none, which counts as one.
Vector tf_idf(const NgramCounts& counts, const std::vector<double>& rarity, double log_images) {
    Vector out;
    for (size_t n = 0; n < counts.size(); ++n) {
        out.weights[n].reserve(counts[n].size());
        for (const auto& [number, count] : counts[n]) {
            const double weight =
                static_cast<double>(count) * (number < rarity.size() ? rarity[number] : log_images);
            out.weights[n].push_back({number, weight});
            out.norm[n] += weight * weight;
            if (n == 1) out.bigrams += static_cast<double>(count);
        }
        out.norm[n] = std::sqrt(out.norm[n]);
    }
    return out;
}

// Mean over the four orders, before the factor of ten.
double similarity(const Vector& candidate, const Vector& reference) {
    constexpr double kSigma = 6;
    double delta = candidate.bigrams - reference.bigrams, sum = 0;
    for (size_t n = 0; n < 4; ++n) {
        double value = 0;
        auto there = reference.weights[n].begin(), end = reference.weights[n].end();
        for (const auto& [number, weight] : candidate.weights[n]) {
            while (there != end && there->number < number) ++there;
            if (there != end && there->number == number)
                value += std::min(weight, there->weight) * there->weight;
        }
        if (candidate.norm[n] != 0 && reference.norm[n] != 0) value /= candidate.norm[n] * reference.norm[n];
        sum += value;
    }
    return sum / 4 * std::exp(-delta * delta / (2 * kSigma * kSigma));
}

} // namespace

struct CiderD::Impl {
    NgramNumbers numbers;
    std::vector<double> rarity;
    double log_images = 0;
};

CiderD::CiderD(const std::vector<std::vector<std::string>>& references) {
    auto impl = std::make_unique<Impl>();
    std::vector<int64_t> images;  // whose references hold the n-gram
    std::vector<size_t> last_set; // that held it, from 1
    for (size_t set = 0; set < references.size(); ++set)
        for (const std::string& reference : references[set]) {
            const NgramCounts counts = impl->numbers.count(reference);
            images.resize(impl->numbers.size());
            last_set.resize(impl->numbers.size());
            for (const auto& order : counts)
                for (const NgramCount& ngram : order)
                    if (std::exchange(last_set[ngram.number], set + 1) != set + 1) ++images[ngram.number];
        }
    impl->log_images = std::log(static_cast<double>(std::max<size_t>(1, references.size())));
    for (int64_t held : images)
        impl->rarity.push_back(impl->log_images - std::log(static_cast<double>(held)));
    impl_ = std::move(impl);
}

CiderD::~CiderD() = default;

double CiderD::score(const std::string& candidate, const std::vector<std::string>& references) const {
    if (references.empty()) return 0;
    NgramNumbers numbers(&impl_->numbers); // for n-grams of no reference of the whole set
    auto vector = [&](const std::string& text) {
        return tf_idf(numbers.count(text), impl_->rarity, impl_->log_images);
    };
    const Vector own = vector(candidate);
    double sum = 0;
    for (const std::string& reference : references) sum += similarity(own, vector(reference));
    return 10 * sum / static_cast<double>(references.size());
}

std::vector<double> cider_d(const std::vector<std::string>& candidates,
                            const std::vector<std::vector<std::string>>& references) {
    if (candidates.size() != references.size())
        throw Error::internal("[cider_d] as many reference sets as candidates expected, ", candidates.size(),
                              ", got ", references.size());
    const CiderD cider(references);
    std::vector<double> scores;
    for (size_t i = 0; i < candidates.size(); ++i)
        scores.push_back(cider.score(candidates[i], references[i]));
    return scores;
}

} // namespace dorabench
