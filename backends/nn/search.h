#pragma once
// One request's way through decoding: greedy, sampling, or beam search with the semantics of Hugging Face's
// generate(). It sees the scores of its own rows alone, so that what it answers cannot depend on the batch.
//
// Beam search: of the max(2, 1 + number of end tokens) * num_beams best continuations, those that end (end
// token, stop string, longest length) and rank among the first num_beams become finished hypotheses with
// score sum(log p) / length^length_penalty, length counting generated tokens; the best others live on. It
// stops when no live beam can beat the worst finished one (judged at the present length, or at the greatest
// for early_stopping "never" and a positive penalty), when early_stopping is "true" and num_beams hypotheses
// are finished, or when nothing lives.
#include "backends/io/tokenizer.h"
#include "backends/nn/answer_pattern.h"
#include "harness/api/types.h"
#include "harness/base/rng.h"
#include <optional>
#include <span>

namespace dorabench {

struct SearchRequest {
    Ids history;                          // what repetition rules see before the first new token
    GenerateOptions options;              // resolved: eos_token_ids are final
    int64_t max_new = 0;                  // options.max_new_tokens, or less where positions end
    std::string id;                       // sampling: the request's own random stream
    const Tokenizer* tokenizer = nullptr; // for stop strings and `decided`
};

struct NextRow { // a row to be computed next: which of this search's present rows it continues, and by which
                 // token
    int64_t row = 0, token = 0;
};

struct Outcome {
    Ids ids;
    std::string reason = "length"; // eos | length | stop | decided
    double score = 0;              // beam search: the hypothesis' normalised score
};

class Search {
public:
    explicit Search(SearchRequest request);
    // scores: float32 [rows, vocab] of the rows asked for last time (the first time: of the prompt's one
    // row); may be overwritten. Returns the rows to be computed next; none: done.
    std::vector<NextRow> advance(std::span<float> scores, int64_t vocab);
    int64_t most_rows() const { return request_.options.num_beams; }
    Outcome outcome() const;

private:
    struct Hypothesis {
        Ids ids;
        double score = 0;
        std::string reason;
    };
    struct Candidate {
        double score = 0;
        int64_t row = 0, token = 0;
    };
    std::vector<NextRow> advance_single(std::span<float> scores);
    std::vector<NextRow> advance_beams(std::span<float> scores, int64_t vocab);
    std::vector<Candidate> best_candidates(std::span<float> scores, int64_t vocab, size_t count);
    void prepare(std::span<float> row, const Hypothesis& hypothesis) const;
    std::string end_reason(const Ids& ids) const; // "" while it may go on
    void finish(Hypothesis hypothesis, int64_t length);
    bool can_improve() const;
    bool decided() const;
    std::string text_of(const Ids& ids) const;
    double normalised(double score, int64_t length) const;

    SearchRequest request_;
    std::vector<Hypothesis> live_{Hypothesis{}}, finished_; // finished: best first
    std::optional<AnswerPattern> pattern_;
    Rng random_;
    bool ended_early_ = false;
};

// What a search ended with, as the answer: ids, reason and, with a tokenizer, the text before the first stop
// string.
void fill_response(Outcome outcome, const Tokenizer* tokenizer, const std::vector<std::string>& stop,
                   Response& response);
// Text before the first of the stop strings.
std::string cut_at_stop(const std::string& text, const std::vector<std::string>& stop);

} // namespace dorabench
