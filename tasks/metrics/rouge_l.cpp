#include "tasks/metrics/rouge_l.h"

#include "harness/base/text.h"
#include <algorithm>

namespace dorabench {

namespace {

size_t longest_common_subsequence(const std::vector<std::string>& a, const std::vector<std::string>& b) {
    std::vector<size_t> row(b.size() + 1, 0); // row[j]: of the words of a so far and the first j of b
    for (const std::string& word : a) {
        size_t diagonal = 0;
        for (size_t j = 1; j <= b.size(); ++j) {
            size_t above = row[j];
            row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
            diagonal = above;
        }
    }
    return row.back();
}

} // namespace

double rouge_l(const std::string& candidate, const std::vector<std::string>& references) {
    constexpr double kBeta2 = 1.2 * 1.2;
    const auto words = split(candidate, ' ');
    double precision = 0, recall = 0;
    for (const std::string& reference : references) {
        const auto reference_words = split(reference, ' ');
        auto common = static_cast<double>(longest_common_subsequence(words, reference_words));
        precision = std::max(precision, common / static_cast<double>(words.size()));
        recall = std::max(recall, common / static_cast<double>(reference_words.size()));
    }
    if (precision == 0 || recall == 0) return 0;
    return (1 + kBeta2) * precision * recall / (recall + kBeta2 * precision);
}

} // namespace dorabench
