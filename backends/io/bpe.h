#pragma once
// The `model` of a tokenizer.json of type BPE (Sennrich et al. 2016): a word's characters are joined pair by
// pair, the pair of lowest rank first, leftmost among equals. A priority queue keeps long words at O(n log
// n).
#include "backends/io/json_place.h"
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dorabench {

// Looks strings up by views of them.
struct ViewHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <typename Value>
using TextMap = std::unordered_map<std::string, Value, ViewHash, std::equal_to<>>;

class Bpe {
public:
    // Error::data: another type, dropout, merges of tokens that the vocabulary lacks, an unk_token outside
    // it.
    Bpe(const Json& model, const JsonPlace& place);
    // Appends the ids of one word (valid UTF-8). Characters that neither vocabulary, bytes nor unk_token
    // cover vanish.
    void encode(std::string_view word, std::vector<int64_t>& out) const;
    int64_t id(std::string_view token) const;      // -1: none
    const std::string* token(int64_t id) const;    // null: none
    int64_t id_limit() const { return id_limit_; } // the largest id and one

private:
    struct Merge {
        uint32_t rank, id;
    };
    struct Symbol {
        uint32_t id;
        int32_t previous, next; // -1: none
        bool gone;
    };
    static uint64_t pair(uint32_t left, uint32_t right) { return uint64_t(left) << 32 | right; }
    void read_vocabulary(const Json& model, const JsonPlace& place);
    void read_merges(const Json& model, const JsonPlace& place);
    std::vector<Symbol> symbols(std::string_view word) const;
    void merge(std::vector<Symbol>& symbols) const;

    TextMap<int64_t> vocabulary_;
    std::unordered_map<int64_t, const std::string*> tokens_;
    std::unordered_map<uint64_t, Merge> merges_;
    std::string prefix_, suffix_; // continuing_subword_prefix, end_of_word_suffix
    int64_t unknown_ = -1, bytes_[256], id_limit_ = 0;
    bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;

    struct Cache { // of short words: text repeats itself
        std::shared_mutex mutex;
        TextMap<std::vector<int64_t>> words;
    };
    std::unique_ptr<Cache> cache_ = std::make_unique<Cache>();
};

} // namespace dorabench
