#include "backends/nn/search.h"
#include "backends/nn/logits_rules.h"
#include "backends/ops/row_math.h"
#include "harness/base/error.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace dorabench {
namespace {

constexpr int64_t kScan = 64; // scores that are passed over together where none can be among the best

bool contains(const std::vector<int64_t>& ids, int64_t id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// The best `count` by score, the earlier of equals first.
template <typename Candidate>
void keep_best(std::vector<Candidate>& candidates, size_t count) {
    auto better = [](const Candidate& a, const Candidate& b) {
        return a.score != b.score ? a.score > b.score : a.row != b.row ? a.row < b.row : a.token < b.token;
    };
    count = std::min(count, candidates.size());
    std::partial_sort(candidates.begin(), candidates.begin() + count, candidates.end(), better);
    candidates.resize(count);
}

} // namespace

std::string cut_at_stop(const std::string& text, const std::vector<std::string>& stop) {
    size_t end = text.size();
    for (const std::string& s : stop)
        if (!s.empty()) end = std::min(end, text.find(s));
    return text.substr(0, end);
}

Search::Search(SearchRequest request)
    : request_(std::move(request)), random_(request_.options.seed, "generate/" + request_.id) {
    const GenerateOptions& o = request_.options;
    if (o.num_beams < 1) throw Error::config("num_beams must be at least 1, got ", o.num_beams);
    if ((!o.decided.empty() || !o.stop.empty()) && !request_.tokenizer)
        throw Error::data("stop strings and decided answers need a tokenizer, and the checkpoint has none; "
                          "give one with --tokenizer");
    if (!o.decided.empty()) pattern_.emplace(o.decided);
    if (request_.max_new < 1) live_.clear();
}

std::string Search::text_of(const Ids& ids) const { return request_.tokenizer->decode(ids, true); }

double Search::normalised(double score, int64_t length) const {
    return score /
           std::pow(static_cast<double>(std::max<int64_t>(1, length)), request_.options.length_penalty);
}

std::string Search::end_reason(const Ids& ids) const {
    const GenerateOptions& o = request_.options;
    if (contains(o.eos_token_ids, ids.back())) return "eos";
    if (!o.stop.empty()) {
        const std::string text = text_of(ids);
        for (const std::string& stop : o.stop)
            if (!stop.empty() && text.find(stop) != std::string::npos) return "stop";
    }
    return static_cast<int64_t>(ids.size()) >= request_.max_new ? "length" : "";
}

void Search::prepare(std::span<float> row, const Hypothesis& hypothesis) const {
    const GenerateOptions& o = request_.options;
    if (has_rules(o)) {
        Ids history = request_.history;
        history.insert(history.end(), hypothesis.ids.begin(), hypothesis.ids.end());
        apply_rules({o, history, static_cast<int64_t>(hypothesis.ids.size()), request_.max_new}, row);
    }
    if (o.temperature > 0) apply_warpers(o, row, o.num_beams > 1 ? 2 : 1);
}

std::vector<NextRow> Search::advance(std::span<float> scores, int64_t vocab) {
    if (live_.empty()) return {};
    return request_.options.num_beams == 1 ? advance_single(scores) : advance_beams(scores, vocab);
}

std::vector<NextRow> Search::advance_single(std::span<float> scores) {
    Hypothesis& line = live_[0];
    prepare(scores, line);
    int64_t token = row_argmax(scores.data(), static_cast<int64_t>(scores.size()));
    if (request_.options.temperature > 0) { // inverse of the cumulative distribution
        const float top = row_maximum(scores.data(), static_cast<int64_t>(scores.size()));
        double left =
            random_.uniform() * row_exponentials(scores.data(), top, static_cast<int64_t>(scores.size()));
        for (size_t i = 0; i < scores.size(); ++i) {
            if (scores[i] <= 0) continue;
            token = static_cast<int64_t>(i);
            if ((left -= scores[i]) < 0) break;
        }
    }
    line.ids.push_back(token);
    line.reason = end_reason(line.ids);
    if (line.reason.empty() && decided()) line.reason = "decided";
    if (line.reason.empty()) return {{0, token}};
    finished_.push_back(line);
    live_.clear();
    return {};
}

std::vector<Search::Candidate> Search::best_candidates(std::span<float> scores, int64_t vocab, size_t count) {
    const bool sample = request_.options.temperature > 0;
    std::vector<Candidate> all;
    std::vector<float> keys; // sampling without replacement: the largest log p + Gumbel noise
    for (size_t r = 0; r < live_.size(); ++r) {
        std::span<float> row = scores.subspan(r * vocab, vocab);
        const float total = static_cast<float>(row_log_sum_exp(row.data(), vocab));
        for (float& score : row) score -= total;
        prepare(row, live_[r]);
        std::vector<Candidate> mine;
        double least =
            -std::numeric_limits<double>::infinity(); // score of the worst that can still be among the best
        for (int64_t begin = 0; begin < vocab; begin += kScan) {
            const int64_t end = std::min(vocab, begin + kScan);
            if (!sample && live_[r].score + row_maximum(&row[begin], end - begin) <= least) continue;
            for (int64_t token = begin; token < end; ++token) {
                if (!std::isfinite(row[token])) continue;
                double score = live_[r].score + row[token];
                if (sample) score -= std::log(-std::log(std::max(random_.uniform(), 1e-300)));
                if (score <= least) continue;
                mine.push_back({score, static_cast<int64_t>(r), token});
                if (mine.size() >= 4 * count + 64) {
                    keep_best(mine, count);
                    least = mine.back().score;
                }
            }
        }
        keep_best(mine, count);
        all.insert(all.end(), mine.begin(), mine.end());
    }
    keep_best(all, count);
    if (!sample) return all;
    for (Candidate& c : all) c.score = live_[c.row].score + scores[c.row * vocab + c.token];
    std::stable_sort(all.begin(), all.end(),
                     [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
    return all;
}

void Search::finish(Hypothesis hypothesis, int64_t length) {
    hypothesis.score = normalised(hypothesis.score, length);
    auto at = std::find_if(finished_.begin(), finished_.end(),
                           [&](const Hypothesis& other) { return other.score < hypothesis.score; });
    finished_.insert(at, std::move(hypothesis));
    if (finished_.size() > static_cast<size_t>(request_.options.num_beams)) finished_.pop_back();
}

bool Search::can_improve() const {
    const GenerateOptions& o = request_.options;
    if (live_.empty()) return false;
    if (finished_.size() < static_cast<size_t>(o.num_beams)) return true;
    if (o.early_stopping == "true") return false;
    const bool hopeful = o.early_stopping == "never" && o.length_penalty > 0;
    const int64_t length = hopeful ? request_.max_new : static_cast<int64_t>(live_[0].ids.size());
    return normalised(live_[0].score, length) > finished_.back().score;
}

std::vector<NextRow> Search::advance_beams(std::span<float> scores, int64_t vocab) {
    const size_t beams = static_cast<size_t>(request_.options.num_beams);
    const size_t count = std::max<size_t>(2, 1 + request_.options.eos_token_ids.size()) * beams;
    const std::vector<Candidate> candidates = best_candidates(scores, vocab, count);
    std::vector<Hypothesis> living;
    std::vector<NextRow> next;
    for (size_t rank = 0; rank < candidates.size(); ++rank) {
        const Candidate& c = candidates[rank];
        if (rank >= beams && living.size() == beams) break;
        Hypothesis grown{live_[c.row].ids, c.score, ""};
        grown.ids.push_back(c.token);
        grown.reason = end_reason(grown.ids);
        if (!grown.reason.empty()) {
            if (rank < beams) finish(grown, static_cast<int64_t>(grown.ids.size()));
        } else if (living.size() < beams) {
            living.push_back(std::move(grown));
            next.push_back({c.row, c.token});
        }
    }
    if (living.empty() && finished_.empty() && !live_[0].ids.empty()) { // every continuation is forbidden
        live_[0].reason = "length";
        finish(live_[0], static_cast<int64_t>(live_[0].ids.size()));
    }
    live_ = std::move(living);
    if (can_improve() && decided()) {
        ended_early_ = true;
        for (Hypothesis& h : live_) {
            h.reason = "decided";
            finish(h, static_cast<int64_t>(h.ids.size()));
        }
        live_.clear();
    }
    if (can_improve()) return next;
    live_.clear();
    return {};
}

bool Search::decided() const {
    if (!pattern_) return false;
    std::optional<std::string> answer;
    for (const Hypothesis& h : live_) {
        auto match = pattern_->first(text_of(h.ids));
        if (!match || !match->settled || (answer && *answer != match->text)) return false;
        answer = match->text;
    }
    for (const Hypothesis& h : finished_) { // a finished hypothesis may win as well
        auto match = pattern_->first(text_of(h.ids));
        if (!match || !answer || *answer != match->text) return false;
    }
    return answer.has_value();
}

Outcome Search::outcome() const {
    if (finished_.empty()) return {};
    const Hypothesis& best = finished_.front();
    return {best.ids, ended_early_ ? "decided" : best.reason, best.score};
}

void fill_response(Outcome outcome, const Tokenizer* tokenizer, const std::vector<std::string>& stop,
                   Response& response) {
    response.ids = std::move(outcome.ids);
    response.finish_reason = std::move(outcome.reason);
    if (tokenizer) response.text = cut_at_stop(tokenizer->decode(response.ids, true), stop);
}

} // namespace dorabench
