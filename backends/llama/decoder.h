#pragma once
// Decoding with LLaMA: the keys and values of all rows lie in one growing buffer a layer; a row is a prompt's
// stretch of it (shared by the beams of a request) and a list of places behind. Continuing, reordering and
// dropping rows copies no keys.
#include "backends/llama/model.h"
#include "backends/nn/generate.h"

namespace dorabench {

struct LlamaPrompt {
    Ids ids;
    at::Tensor embeddings; // [T, C] instead of ids (LLaVA)
    int64_t length() const {
        return embeddings.defined() ? embeddings.size(0) : static_cast<int64_t>(ids.size());
    }
};

class LlamaDecoder final : public Decoder {
public:
    LlamaDecoder(LlamaModel& model, std::vector<LlamaPrompt> prompts);
    int64_t vocab_size() const override { return model_.config().vocab; }
    at::Tensor start(std::span<const int64_t> prompts) override;
    at::Tensor step(std::span<const int64_t> parents, std::span<const int64_t> tokens) override;
    int64_t buffer_rows() const { return capacity_; } // for tests: it stays bounded over many requests

private:
    struct Row {
        int64_t prefix_begin = 0, prefix_end = 0;
        std::vector<int64_t> tail; // places of the generated tokens
        int64_t length() const { return prefix_end - prefix_begin + static_cast<int64_t>(tail.size()); }
    };
    void reserve(int64_t more);
    void compact();
    void resize(int64_t capacity);
    void store(int64_t layer, const at::Tensor& k, const at::Tensor& v);
    at::Tensor ids_tensor(const std::vector<int64_t>& values) const;

    LlamaModel& model_;
    std::vector<LlamaPrompt> prompts_;
    std::vector<Row> rows_;
    std::vector<at::Tensor> keys_, values_; // per layer [capacity, Hkv, D]; float32 on the CPU
    int64_t used_ = 0, capacity_ = 0;
};

} // namespace dorabench
