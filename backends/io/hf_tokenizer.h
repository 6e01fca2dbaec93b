#pragma once
// A tokenizer.json with a BPE model, as the HF tokenizers library runs it.
#include "backends/io/added_tokens.h"
#include "backends/io/decoder.h"
#include "backends/io/pre_tokenizer.h"
#include "backends/io/special_tokens.h"
#include "backends/io/tokenizer.h"

namespace dorabench {

class HfTokenizer final : public Tokenizer {
public:
    // `document`: a whole tokenizer.json; `file` for messages. Its truncation and padding are left to the
    // callers.
    HfTokenizer(const Json& document, const std::string& file, const SpecialTokens& special,
                std::string fingerprint);

    std::vector<int64_t> encode(std::string_view text, bool add_special) const override;
    std::string decode(const std::vector<int64_t>& ids,
                       bool skip_special) const override; // unknown ids vanish
    int64_t vocab_size() const override;                  // the largest id and one
    int64_t bos_id() const override { return ids_.bos; }
    int64_t eos_id() const override { return ids_.eos; }
    int64_t pad_id() const override { return ids_.pad; }
    int64_t token_id(std::string_view token) const override;
    std::string fingerprint() const override { return fingerprint_; }

private:
    HfTokenizer(const Json& document, const JsonPlace& place, const SpecialTokens& special,
                std::string fingerprint);
    void encode_text(std::string text, bool at_start, std::vector<int64_t>& ids) const;

    Bpe model_;
    Normalizer normalizer_;
    AddedTokens added_;
    PreTokenizer pre_tokenizer_;
    PostProcessor post_processor_;
    Decoder decoder_;
    SpecialIds ids_;
    std::string fingerprint_;
};

// The same document made of a vocab.json and a merges.txt, by the conventions of the class that
// tokenizer_config.json names or, without it, of the vocabulary: CLIP (</w>), BART and RoBERTa (<s> … </s>),
// Qwen2, else GPT-2.
Json tokenizer_of_vocabulary(const std::string& vocabulary, const std::string& merges,
                             const SpecialTokens& special);

} // namespace dorabench
