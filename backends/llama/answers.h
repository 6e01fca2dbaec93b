#pragma once
// What answering requests has in common for LLaMA and for the backbones that put other things than tokens in
// front of it (LLaVA): the rows are codes, and embed() says what they mean.
#include "backends/llama/decoder.h"
#include "backends/nn/scoring.h"
#include "harness/api/types.h"

namespace dorabench {

struct RequestKinds {
    std::vector<size_t> scores, texts; // which of the requests
};
RequestKinds by_kind(std::span<const Request> requests);

// batch_size 0: what the device's memory and speed suggest.
ScoringLimits scoring_limits(const LlamaModel& model, int64_t batch_size);
GenerationLimits generation_limits(const LlamaModel& model, int64_t batch_size);

// Adds each target's log-probability to its job's response, and whether it was the likeliest token.
void score_batch(LlamaModel& model, const ScoreBatch& batch, const EmbedCodes& embed,
                 std::vector<Response>& responses);

} // namespace dorabench
