#pragma once
// Decoding of many requests at once over any decoder: LLaMA, BART's decoder, LLaVA (prompts that are
// embeddings). Rows that end leave the batch, waiting requests join it.
#include "backends/nn/search.h"
#include "backends/ops/aten.h"
#include <functional>
#include <span>

namespace dorabench {

// A model with its cache, for the prompts that it was made with. It holds an ordered set of rows, each a
// prompt and the tokens behind it.
class Decoder {
public:
    virtual ~Decoder() = default;
    virtual int64_t vocab_size() const = 0;
    // Adds one row for each of these prompts behind the present rows, and returns the scores [n, vocab]
    // (float32, CPU, contiguous, writable) of the token that follows each.
    virtual at::Tensor start(std::span<const int64_t> prompts) = 0;
    // The rows are from now on: row i continues parents[i] (a present row; several may share one; a row
    // nobody continues is gone) by tokens[i]. Returns the scores [rows, vocab] of what follows.
    virtual at::Tensor step(std::span<const int64_t> parents, std::span<const int64_t> tokens) = 0;
    // Whether start() may be called while other rows live.
    virtual bool can_join() const { return true; }
};

struct GenerationJob {
    int64_t prompt = 0;        // its number in the decoder
    int64_t prompt_length = 0; // for the order of work
    SearchRequest request;
};

struct GenerationLimits {
    int64_t rows = 32;            // beams of all requests together; one request may exceed it
    int64_t requests = 1 << 30;   // at a time
    int64_t prompt_tokens = 4096; // computed by one start()
    // Keys of all requests at a time, at their longest: prompts and max_new for each beam; one request may
    // exceed it.
    int64_t cached_tokens = int64_t(1) << 40;
};

// Reports each job (by its index) as soon as it is done. Longest prompts first; ties in the given order.
void generate_all(Decoder& decoder, std::span<const GenerationJob> jobs, const GenerationLimits& limits,
                  const std::function<void(size_t job, Outcome outcome)>& done);

} // namespace dorabench
