#include "tasks/metrics/cider.h"

#include "harness/base/error.h"
#include "tasks/metrics/words.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>

namespace dorabench {

namespace {

using DocumentFrequency = std::unordered_map<std::string, int64_t>; // images whose references hold the n-gram

struct Vector { // tf-idf weights of one text
    std::array<std::unordered_map<std::string, double>, 4> weights;
    std::array<double, 4> norm{};
    double bigrams = 0; // the original takes the length from these, not from the words
};

Vector tf_idf(const std::string& text, const DocumentFrequency& frequency, double log_images) {
    Vector out;
    for (const auto& [ngram, count] : count_ngrams(split_white_space(text), 4)) {
        size_t n = ngram_order(ngram) - 1;
        auto found = frequency.find(ngram);
        double df = found == frequency.end() ? 1 : static_cast<double>(std::max<int64_t>(1, found->second));
        double weight = static_cast<double>(count) * (log_images - std::log(df));
        out.weights[n][ngram] = weight;
        out.norm[n] += weight * weight;
        if (n == 1) out.bigrams += static_cast<double>(count);
    }
    for (double& norm : out.norm) norm = std::sqrt(norm);
    return out;
}

// Mean over the four orders, before the factor of ten.
double similarity(const Vector& candidate, const Vector& reference) {
    constexpr double kSigma = 6;
    double delta = candidate.bigrams - reference.bigrams, sum = 0;
    for (size_t n = 0; n < 4; ++n) {
        double value = 0;
        for (const auto& [ngram, weight] : candidate.weights[n]) {
            auto found = reference.weights[n].find(ngram);
            if (found != reference.weights[n].end()) value += std::min(weight, found->second) * found->second;
        }
        if (candidate.norm[n] != 0 && reference.norm[n] != 0) value /= candidate.norm[n] * reference.norm[n];
        sum += value;
    }
    return sum / 4 * std::exp(-delta * delta / (2 * kSigma * kSigma));
}

} // namespace

struct CiderD::Impl {
    DocumentFrequency frequency;
    double log_images = 0;
};

CiderD::CiderD(const std::vector<std::vector<std::string>>& references) {
    auto impl = std::make_unique<Impl>();
    for (const auto& set : references) {
        std::unordered_set<std::string> seen;
        for (const std::string& reference : set)
            for (const auto& [ngram, count] : count_ngrams(split_white_space(reference), 4))
                seen.insert(ngram);
        for (const std::string& ngram : seen) ++impl->frequency[ngram];
    }
    impl->log_images = std::log(static_cast<double>(std::max<size_t>(1, references.size())));
    impl_ = std::move(impl);
}

CiderD::~CiderD() = default;

double CiderD::score(const std::string& candidate, const std::vector<std::string>& references) const {
    if (references.empty()) return 0;
    const Vector own = tf_idf(candidate, impl_->frequency, impl_->log_images);
    double sum = 0;
    for (const std::string& reference : references)
        sum += similarity(own, tf_idf(reference, impl_->frequency, impl_->log_images));
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
