#pragma once
// Log-likelihood requests as packed batches: a context that several continuations share is computed once, its
// continuations branch off it; no place is padding.
#include "backends/nn/attention.h"
#include "harness/api/types.h"

namespace dorabench {

struct ScoreJob {
    Ids context, continuation;
}; // context not empty

struct ScoreBatch {
    std::vector<int64_t> ids, positions; // [N]
    std::vector<PackedRow> rows;         // causal rows, from 0 on
    int64_t branches_begin = 0;          // tokens from here on see the keys in `seen`
    KeyLists seen;                       // [N - branches_begin]
    struct Target {
        int64_t hidden = 0, token = 0;
        size_t job = 0;
    }; // the state `hidden` predicts `token` of a job
    std::vector<Target> targets;
    std::vector<size_t> jobs; // that this batch completes
};

// The states that some target reads, each once, in order.
struct KeptStates {
    std::vector<int64_t> states;        // [R]
    KeyLists seen;                      // [R]
    std::vector<int64_t> row_of_target; // number in states
};
KeptStates kept_states(const ScoreBatch& batch);

struct ScoringLimits {
    int64_t tokens = 2048;  // of one batch; one group may exceed it
    int64_t jobs = 1 << 30; // of one batch
};

// Groups of equal contexts, longest first, ties in the given order.
std::vector<ScoreBatch> plan_scoring(std::span<const ScoreJob> jobs, const ScoringLimits& limits);

struct TokenScore {
    double logprob = 0;
    bool greedy = false;
};
// logits float32 CPU [n, vocab]; one token a row
std::vector<TokenScore> token_scores(const at::Tensor& logits, std::span<const int64_t> tokens);

} // namespace dorabench
