#pragma once
// Decoding over rows of codes, of which some begin alike: the keys and values of a common prefix are computed
// when its first row starts and kept as long as a row needs them or is still to start. What comes behind the
// prefix is a row's own.
#include "backends/llama/model.h"
#include "backends/llava/prefixes.h"
#include "backends/nn/generate.h"
#include <functional>

namespace dorabench {

using EmbedCodes = std::function<at::Tensor(std::span<const int64_t> codes)>; // [N] -> [N, C]

// A group's prefix must be shorter than each of its rows (a row of its own: as long); codes: every prompt.
class SharedPrefixDecoder final : public Decoder {
public:
    SharedPrefixDecoder(LlamaModel& model, std::vector<Codes> prompts, const std::vector<PrefixGroup>& groups,
                        EmbedCodes embed);
    int64_t vocab_size() const override { return model_.config().vocab; }
    at::Tensor start(std::span<const int64_t> prompts) override;
    at::Tensor step(std::span<const int64_t> parents, std::span<const int64_t> tokens) override;
    int64_t buffer_rows() const { return capacity_; } // for tests: bounded over many requests
    int64_t prefilled() const { return prefilled_; }  // codes that start() computed

private:
    struct Prefix {
        int64_t length = 0, waiting = 0; // rows still to start
        bool resident = false;
        int64_t begin = 0; // in the buffer
    };
    struct Row {
        int64_t prefix_begin = 0, prefix_end = 0;
        std::vector<int64_t> tail; // places behind the prefix
        int64_t length() const { return prefix_end - prefix_begin + static_cast<int64_t>(tail.size()); }
    };
    struct Started; // what one start() computes
    void plan_start(std::span<const int64_t> prompts, Started& plan);
    void reserve(int64_t more);
    void compact();
    void resize(int64_t capacity);
    void store(int64_t layer, const at::Tensor& k, const at::Tensor& v);
    at::Tensor to_device(const std::vector<int64_t>& values) const;

    LlamaModel& model_;
    std::vector<Codes> prompts_;
    std::vector<size_t> group_of_; // per prompt
    std::vector<Prefix> prefixes_; // per group
    EmbedCodes embed_;
    std::vector<Row> rows_;
    std::vector<at::Tensor> keys_, values_; // per layer [capacity, Hkv, D]; float32 on the CPU
    int64_t used_ = 0, capacity_ = 0, prefilled_ = 0;
};

} // namespace dorabench
