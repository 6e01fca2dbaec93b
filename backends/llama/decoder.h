#pragma once
// Decoding with LLaMA over rows of codes: token ids, and whatever else the caller's embed() gives a place in
// the sequence (the patches of LLaVA's images). The keys and values of all rows lie in one store; a row is a
// stretch of it, which the prompts of a group and the beams of a request share, and a list of places behind.
// Continuing, reordering and dropping rows copies no keys. What a group's prompts begin with is computed when
// the first of them starts, and kept as long as a row needs it or a prompt of the group is still to start.
#include "backends/llama/model.h"
#include "backends/nn/generate.h"
#include "backends/nn/kv_store.h"
#include <functional>

namespace dorabench {

using Codes = std::vector<int64_t>;
using EmbedCodes = std::function<at::Tensor(std::span<const int64_t> codes)>; // [N] -> [N, C]
EmbedCodes embed_tokens(const LlamaModel& model); // of codes that are ids; the model must outlive it

struct PrefixGroup {
    std::vector<size_t> rows; // in the given order
    int64_t length = 0;       // of what all of them begin with
};

class LlamaDecoder final : public Decoder {
public:
    // groups: every prompt is in one. A group's prefix must be shorter than each of its prompts; that of a
    // prompt alone is as long.
    LlamaDecoder(LlamaModel& model, std::vector<Codes> prompts, const std::vector<PrefixGroup>& groups,
                 EmbedCodes embed);
    LlamaDecoder(LlamaModel& model, std::vector<Ids> prompts); // of tokens, each a group of its own
    int64_t vocab_size() const override { return model_.config().vocab; }
    at::Tensor start(std::span<const int64_t> prompts) override;
    at::Tensor step(std::span<const int64_t> parents, std::span<const int64_t> tokens) override;
    int64_t buffer_rows() const { return store_.capacity(); } // for tests: bounded over many requests
    int64_t prefilled() const { return prefilled_; }          // codes that start() computed

private:
    struct Prefix {
        int64_t length = 0, waiting = 0; // prompts still to start
        bool resident = false;
        int64_t begin = 0; // in the store
    };
    struct Row {
        int64_t prefix_begin = 0, prefix_end = 0;
        std::vector<int64_t> tail; // places behind the prefix
        int64_t length() const { return prefix_end - prefix_begin + static_cast<int64_t>(tail.size()); }
    };
    struct Started; // what one start() computes
    Started plan_start(std::span<const int64_t> prompts);
    void reserve(int64_t more); // may move places

    LlamaModel& model_;
    std::vector<Codes> prompts_;
    std::vector<size_t> group_of_; // per prompt
    std::vector<Prefix> prefixes_; // per group
    EmbedCodes embed_;
    std::vector<Row> rows_;
    KvStore store_; // float32 on the CPU
    int64_t prefilled_ = 0;
};

} // namespace dorabench
