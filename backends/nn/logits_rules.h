#pragma once
// What decoding options do to one row of scores before a token is chosen: the processors of Hugging Face's
// generate(), in its order, then the warpers of sampling.
#include "harness/api/types.h"
#include <span>

namespace dorabench {

struct RuleContext {
    const GenerateOptions& options;
    std::span<const int64_t> history; // everything before the next token: the prompt (or the decoder's start)
                                      // and what was generated
    int64_t generated = 0;            // how many of them were generated
    int64_t max_new = 0;
};

// repetition_penalty, no_repeat_ngram_size, min_new_tokens, forced_bos_token_id, forced_eos_token_id; scores
// float32 [vocab]
void apply_rules(const RuleContext& context, std::span<float> scores);
// temperature, top_k, top_p; keep: how many tokens top_p leaves at least
void apply_warpers(const GenerateOptions& options, std::span<float> scores, size_t keep);
bool has_rules(const GenerateOptions& options);

} // namespace dorabench
