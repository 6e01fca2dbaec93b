#pragma once
// Text to ids and back, exactly as the originals: SentencePiece `tokenizer.model`, HF `tokenizer.json`
// byte-level BPE (LLaMA 3, BART, CLIP, Qwen2), `vocab.json` with `merges.txt`.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

class Tokenizer {
public:
    virtual ~Tokenizer() = default;
    // add_special: what the original puts around a text (BOS for LLaMA; <s> … </s> for BART; start and end
    // for CLIP).
    virtual std::vector<int64_t> encode(std::string_view text, bool add_special) const = 0;
    virtual std::string decode(const std::vector<int64_t>& ids,
                               bool skip_special) const = 0; // nothing cleaned up
    virtual int64_t vocab_size() const = 0;
    virtual int64_t bos_id() const = 0; // -1: none
    virtual int64_t eos_id() const = 0;
    virtual int64_t pad_id() const = 0;
    virtual int64_t token_id(std::string_view token) const = 0; // exact piece or special token; -1: none
    virtual std::string fingerprint() const = 0;                // sha256 of the defining files
};

// A folder (tokenizer.json, else tokenizer.model, else vocab.json with merges.txt; special tokens also from
// tokenizer_config.json and special_tokens_map.json) or a file. Error::data names the file and what is wrong;
// unsupported parts of a tokenizer.json are refused by name.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path);
bool has_tokenizer(const std::string& folder);

} // namespace dorabench
