// Searches and the batch engine over a toy decoder whose scores are a hash of the row's tokens.
#include "backends/nn/generate.h"
#include "backends/nn/logits_rules.h"
#include "harness/base/error.h"
#include <cmath>
#include <gtest/gtest.h>
#include <set>

namespace dorabench {
namespace {

constexpr int64_t kVocab = 50;

class ToyDecoder final : public Decoder {
public:
    explicit ToyDecoder(std::vector<Ids> prompts, bool joins = true)
        : prompts_(std::move(prompts)), joins_(joins) {}
    int64_t vocab_size() const override { return kVocab; }
    bool can_join() const override { return joins_; }
    at::Tensor start(std::span<const int64_t> prompts) override {
        const size_t before = rows_.size();
        for (int64_t p : prompts) rows_.push_back(prompts_.at(p));
        return scores(before);
    }
    at::Tensor step(std::span<const int64_t> parents, std::span<const int64_t> tokens) override {
        std::vector<Ids> next;
        for (size_t i = 0; i < parents.size(); ++i) {
            next.push_back(rows_.at(parents[i]));
            next.back().push_back(tokens[i]);
        }
        rows_ = next;
        most_rows = std::max(most_rows, rows_.size());
        return scores(0);
    }
    size_t most_rows = 0;

private:
    at::Tensor scores(size_t from) const {
        at::Tensor out = at::empty({static_cast<int64_t>(rows_.size() - from), kVocab});
        float* data = out.mutable_data_ptr<float>();
        for (size_t r = from; r < rows_.size(); ++r) {
            uint64_t state = 1469598103934665603ull;
            for (int64_t id : rows_[r]) state = (state ^ static_cast<uint64_t>(id + 1)) * 1099511628211ull;
            for (int64_t v = 0; v < kVocab; ++v) {
                uint64_t z = (state + v) * 0x9E3779B97F4A7C15ull;
                z = (z ^ (z >> 31)) * 0xBF58476D1CE4E5B9ull;
                *data++ = static_cast<float>(z >> 40) * 0x1p-24f * 5.0f;
            }
        }
        return out;
    }
    std::vector<Ids> prompts_, rows_;
    bool joins_;
};

std::vector<Ids> run(const GenerateOptions& options, int64_t requests_at_a_time, bool joins = true,
                     size_t count = 9) {
    std::vector<Ids> prompts;
    std::vector<GenerationJob> jobs(count);
    for (size_t i = 0; i < count; ++i) {
        prompts.push_back(Ids(1 + i % 4, static_cast<int64_t>(i)));
        jobs[i] = {static_cast<int64_t>(i),
                   static_cast<int64_t>(prompts[i].size()),
                   {prompts[i], options, options.max_new_tokens, std::to_string(i), nullptr}};
    }
    ToyDecoder decoder(prompts, joins);
    std::vector<Ids> out(count);
    GenerationLimits limits{1 << 20, requests_at_a_time, 1 << 20};
    generate_all(decoder, jobs, limits, [&](size_t i, Outcome outcome) { out[i] = outcome.ids; });
    return out;
}

GenerateOptions options_of(int64_t beams, double temperature = 0) {
    GenerateOptions o;
    o.num_beams = beams, o.max_new_tokens = 12, o.temperature = temperature, o.seed = 3;
    o.eos_set = true, o.eos_token_ids = {4, 9};
    return o;
}

TEST(GenerateAll, AnswersDoNotDependOnTheBatch) {
    for (int64_t beams : {1, 3})
        for (double temperature : {0.0, 0.8}) {
            const auto want = run(options_of(beams, temperature), 1);
            for (const Ids& ids : want) EXPECT_FALSE(ids.empty());
            EXPECT_EQ(run(options_of(beams, temperature), 4), want);
            EXPECT_EQ(run(options_of(beams, temperature), 100), want);
            EXPECT_EQ(run(options_of(beams, temperature), 4, false), want);
        }
}

TEST(GenerateAll, NoMoreRequestsRunThanTheirKeysHaveRoomFor) {
    std::vector<Ids> prompts(6, Ids{1, 2, 3});
    std::vector<GenerationJob> jobs(6);
    for (int64_t i = 0; i < 6; ++i)
        jobs[i] = {i, 3, {prompts[i], options_of(2), 12, std::to_string(i), nullptr}};
    auto most_rows = [&](int64_t cached_tokens) {
        ToyDecoder decoder(prompts);
        GenerationLimits limits{1 << 20, 1 << 20, 1 << 20};
        limits.cached_tokens = cached_tokens;
        size_t done = 0;
        generate_all(decoder, jobs, limits, [&](size_t, Outcome outcome) { done += !outcome.ids.empty(); });
        EXPECT_EQ(done, jobs.size());
        return decoder.most_rows;
    };
    EXPECT_EQ(most_rows(1), 2u) << "one request may exceed the limit";
    EXPECT_EQ(most_rows(2 * 27), 4u) << "a request keeps 3 + 2 * 12 tokens at most";
    EXPECT_EQ(most_rows(1 << 20), 12u);
}

TEST(GenerateAll, SamplingWithAnotherSeedGivesOtherTexts) {
    GenerateOptions other = options_of(1, 1.0);
    other.seed = 4;
    EXPECT_NE(run(options_of(1, 1.0), 9), run(other, 9));
}

TEST(Search, TopKOfOneIsGreedy) {
    GenerateOptions o = options_of(1, 1.5);
    o.top_k = 1;
    EXPECT_EQ(run(o, 9), run(options_of(1), 9));
}

TEST(Search, EndsBehindTheFirstEndTokenAndNeverBeforeTheLeastLength) {
    GenerateOptions o = options_of(1);
    o.min_new_tokens = 5;
    for (const Ids& ids : run(o, 9)) {
        EXPECT_GE(ids.size(), 6u - 1u);
        for (size_t i = 0; i + 1 < ids.size(); ++i) EXPECT_TRUE(ids[i] != 4 && ids[i] != 9);
    }
}

TEST(Search, ForcedTokensStandWhereTheyMust) {
    GenerateOptions o = options_of(2);
    o.eos_token_ids.clear();
    o.forced_eos_token_id = 7, o.forced_bos_token_id = 11;
    const auto out = run(o, 9);
    int begun = 0;
    for (size_t i = 0; i < out.size(); ++i) {
        EXPECT_EQ(out[i].size(), 12u);
        EXPECT_EQ(out[i].back(), 7);
        if (i % 4 == 0) EXPECT_EQ(out[i].front(), 11) << "one token stands before";
        begun += out[i].front() == 11;
    }
    EXPECT_LT(begun, 9) << "behind longer prompts no first token is forced";
}

// Beam search against an exhaustive reading of the same rules over all sequences of a tiny problem.
TEST(Search, WideBeamsFindTheBestSequence) {
    GenerateOptions o;
    o.num_beams = 60, o.max_new_tokens = 2, o.eos_set = true;
    ToyDecoder decoder({{1, 2}});
    at::Tensor first = decoder.start(std::vector<int64_t>{0}).log_softmax(-1);
    double best = -1e9;
    Ids want;
    for (int64_t a = 0; a < kVocab; ++a) {
        ToyDecoder other({{1, 2, a}});
        at::Tensor second = other.start(std::vector<int64_t>{0}).log_softmax(-1);
        for (int64_t b = 0; b < kVocab; ++b) {
            const double score = first[0][a].item<double>() + second[0][b].item<double>();
            if (score > best) best = score, want = {a, b};
        }
    }
    std::vector<GenerationJob> jobs{{0, 2, {{1, 2}, o, 2, "x", nullptr}}};
    ToyDecoder fresh({{1, 2}});
    Outcome got;
    generate_all(fresh, jobs, {}, [&](size_t, Outcome outcome) { got = outcome; });
    EXPECT_EQ(got.ids, want);
    EXPECT_NEAR(got.score, best / 2, 1e-5);
    EXPECT_LE(fresh.most_rows, 60u);
}

TEST(LogitsRules, RepeatedNgramsAreBannedAndRepetitionIsPenalised) {
    GenerateOptions o;
    o.no_repeat_ngram_size = 2;
    std::vector<float> scores(5, 1.0f);
    const Ids history{1, 2, 3, 1};
    apply_rules({o, history, 0, 4}, scores);
    EXPECT_TRUE(std::isinf(scores[2]));
    EXPECT_EQ(scores[3], 1.0f);
    o = {};
    o.repetition_penalty = 2;
    scores = {1, 1, -1, 1, 1};
    apply_rules({o, history, 0, 4}, scores);
    EXPECT_EQ(scores, (std::vector<float>{1, 0.5f, -2, 0.5f, 1}));
}

TEST(LogitsRules, TopPKeepsTheSmallestSetThatReachesIt) {
    GenerateOptions o;
    o.temperature = 1, o.top_p = 0.7;
    std::vector<float> scores{std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
    apply_warpers(o, scores, 1);
    EXPECT_TRUE(std::isfinite(scores[0]) && std::isfinite(scores[1]));
    EXPECT_TRUE(std::isinf(scores[2]) && std::isinf(scores[3]));
}

// One letter a token, so that stop strings and patterns can be read off.
class Letters final : public Tokenizer {
public:
    std::vector<int64_t> encode(std::string_view text, bool) const override {
        std::vector<int64_t> ids;
        for (char c : text) ids.push_back(c - 'a');
        return ids;
    }
    std::string decode(const std::vector<int64_t>& ids, bool) const override {
        std::string text;
        for (int64_t id : ids) text += static_cast<char>('a' + id);
        return text;
    }
    int64_t vocab_size() const override { return 26; }
    int64_t bos_id() const override { return -1; }
    int64_t eos_id() const override { return -1; }
    int64_t pad_id() const override { return -1; }
    int64_t token_id(std::string_view token) const override {
        return token.size() == 1 ? token[0] - 'a' : -1;
    }
    std::string fingerprint() const override { return "letters"; }
};

// Feeds the letters of `text` to a greedy search.
Outcome feed(GenerateOptions options, const std::string& text) {
    static const Letters letters;
    options.eos_set = true, options.max_new_tokens = 100;
    Search search({{}, options, 100, "x", &letters});
    for (char c : text) {
        std::vector<float> scores(26, 0.0f);
        scores[c - 'a'] = 5;
        if (search.advance(scores, 26).empty()) break;
    }
    return search.outcome();
}

TEST(Search, StopsAtAStopString) {
    GenerateOptions o;
    o.stop = {"xy"};
    const Outcome out = feed(o, "abxyzz");
    EXPECT_EQ(out.reason, "stop");
    EXPECT_EQ(out.ids.size(), 4u);
    EXPECT_EQ(cut_at_stop("abxy", o.stop), "ab");
}

TEST(Search, ADecidedAnswerEndsOnlyOnceTextStandsBehindIt) {
    GenerateOptions o;
    o.decided = "yes|no|nope";
    EXPECT_EQ(feed(o, "abyesq").ids.size(), 6u);
    EXPECT_EQ(feed(o, "abyesq").reason, "decided");
    EXPECT_TRUE(feed(o, "abyes").ids.empty()) << "not over yet";
}

TEST(Search, BadOptionsAreRefusedByName) {
    GenerateOptions o;
    o.num_beams = 0;
    EXPECT_THROW(Search({{}, o, 3, "x", nullptr}), Error);
    o = {};
    o.stop = {"x"};
    EXPECT_THROW(Search({{}, o, 3, "x", nullptr}), Error) << "stop strings without a tokenizer";
    EXPECT_THROW(feed(
                     [] {
                         GenerateOptions bad;
                         bad.decided = "(";
                         return bad;
                     }(),
                     "a"),
                 Error);
}

} // namespace
} // namespace dorabench
