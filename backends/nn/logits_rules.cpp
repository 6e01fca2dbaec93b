#include "backends/nn/logits_rules.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

namespace dorabench {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

bool inside(int64_t id, std::span<const float> scores) {
    return id >= 0 && id < static_cast<int64_t>(scores.size());
}

void penalise_repetition(const RuleContext& context, std::span<float> scores) {
    const float penalty = static_cast<float>(context.options.repetition_penalty);
    const std::set<int64_t> seen(context.history.begin(), context.history.end());
    for (int64_t id : seen)
        if (inside(id, scores)) scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty;
}

// Bans every token that would complete an n-gram which the history holds already.
void ban_ngrams(const RuleContext& context, std::span<float> scores) {
    const auto& history = context.history;
    const size_t n = static_cast<size_t>(context.options.no_repeat_ngram_size);
    if (history.size() + 1 < n) return;
    const auto last = history.subspan(history.size() - (n - 1));
    for (size_t at = 0; at + n <= history.size(); ++at)
        if (std::equal(last.begin(), last.end(), history.begin() + at) && inside(history[at + n - 1], scores))
            scores[history[at + n - 1]] = kNever;
}

void force(int64_t id, std::span<float> scores) {
    if (!inside(id, scores)) return;
    std::fill(scores.begin(), scores.end(), kNever);
    scores[id] = 0;
}

void keep_top_k(size_t k, std::span<float> scores) {
    if (k >= scores.size()) return;
    std::vector<float> sorted(scores.begin(), scores.end());
    std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<>());
    const float least = sorted[k - 1];
    for (float& score : scores)
        if (score < least) score = kNever;
}

// The smallest set of likeliest tokens whose probability reaches p, at least `keep` of them.
void keep_top_p(double p, size_t keep, std::span<float> scores) {
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), size_t(0));
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    const double top = scores[order[0]];
    double sum = 0, before = 0;
    for (float score : scores) sum += std::exp(score - top);
    for (size_t i = 0; i < order.size(); ++i) {
        const double share = std::exp(scores[order[i]] - top) / sum;
        if (i >= keep && before >= p) scores[order[i]] = kNever;
        before += share;
    }
}

} // namespace

bool has_rules(const GenerateOptions& o) {
    return o.repetition_penalty != 1 || o.no_repeat_ngram_size > 0 || o.min_new_tokens > 0 ||
           o.forced_bos_token_id >= 0 || o.forced_eos_token_id >= 0;
}

void apply_rules(const RuleContext& context, std::span<float> scores) {
    const GenerateOptions& o = context.options;
    if (o.repetition_penalty != 1) penalise_repetition(context, scores);
    if (o.no_repeat_ngram_size > 0) ban_ngrams(context, scores);
    if (context.generated < o.min_new_tokens)
        for (int64_t id : o.eos_token_ids)
            if (inside(id, scores)) scores[id] = kNever;
    if (o.forced_bos_token_id >= 0 && context.history.size() == 1) force(o.forced_bos_token_id, scores);
    if (o.forced_eos_token_id >= 0 && context.generated == context.max_new - 1)
        force(o.forced_eos_token_id, scores);
}

void apply_warpers(const GenerateOptions& o, std::span<float> scores, size_t keep) {
    if (o.temperature > 0 && o.temperature != 1)
        for (float& score : scores) score = static_cast<float>(score / o.temperature);
    if (o.top_k > 0) keep_top_k(std::max(static_cast<size_t>(o.top_k), keep), scores);
    if (o.top_p < 1) keep_top_p(o.top_p, keep, scores);
}

} // namespace dorabench
