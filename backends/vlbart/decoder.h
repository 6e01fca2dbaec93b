#pragma once
// Decoding with BART: a request's source is encoded once and its cross-attention's keys and values are kept
// for all its beams; a row is that stretch and a list of places of the tokens behind the decoder's start.
// Continuing, reordering and dropping rows copies no keys.
#include "backends/nn/generate.h"
#include "backends/nn/kv_store.h"
#include "backends/vlbart/model.h"

namespace dorabench {

struct BartPrompt {
    Ids ids;
    Media media;      // features are read when the prompt is started
    std::string what; // "request 7", for messages
};

class BartDecoder final : public Decoder {
public:
    BartDecoder(BartModel& model, std::vector<BartPrompt> prompts);
    int64_t vocab_size() const override { return model_.config().vocab; }
    at::Tensor start(std::span<const int64_t> prompts) override;
    at::Tensor step(std::span<const int64_t> parents, std::span<const int64_t> tokens) override;
    int64_t buffer_rows() const { return self_.capacity() + cross_.capacity(); } // for tests: stays bounded

private:
    struct Row {
        int64_t source_begin = 0, source_end = 0; // in cross_
        std::vector<int64_t> tail;                // places in self_, the decoder's start first
    };
    void reserve_self(int64_t more);
    void reserve_cross(int64_t more);
    at::Tensor advance(size_t first_row,
                       const std::vector<int64_t>& tokens); // one token for each row from first_row on

    BartModel& model_;
    std::vector<BartPrompt> prompts_;
    std::vector<Row> rows_;
    KvStore self_, cross_;
};

} // namespace dorabench
