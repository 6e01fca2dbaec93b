#pragma once
// Tokens that are found in the text as a whole, before the model sees it: the `added_tokens` of a
// tokenizer.json. The longest token at the leftmost place wins.
#include "backends/io/bpe.h"
#include "backends/io/normalizer.h"
#include <array>

namespace dorabench {

struct AddedToken {
    std::string content;
    int64_t id = -1;
    bool single_word = false;            // not next to a letter, digit or mark
    bool lstrip = false, rstrip = false; // takes the white space beside it
    bool normalized = false;             // looked for in the normalised text
    bool special = false;                // left out when decoding skips special tokens
    std::string shown; // what decoding makes of it: the content, normalised where that is looked for
};

class AddedTokens {
public:
    AddedTokens(std::vector<AddedToken> tokens, const Normalizer& normalizer);

    struct Part {
        size_t begin, end;
        int64_t id; // -1: text between tokens, never empty
    };
    std::vector<Part> split(std::string_view text, bool normalized) const;
    const AddedToken* find(std::string_view content) const;
    const AddedToken* find(int64_t id) const;
    int64_t id_limit() const { return id_limit_; }

private:
    // A trie over bytes; edges in one table.
    struct Trie {
        std::unordered_map<uint64_t, uint32_t> edges; // node << 8 | byte → node
        std::unordered_map<uint32_t, size_t> tokens;  // node → index of the token that ends there
        std::array<bool, 256> first{};
        uint32_t nodes = 1;
        void add(std::string_view text, size_t token);
        // The longest token at `at`: its index and where it ends.
        bool match(std::string_view text, size_t at, size_t& token, size_t& end) const;
    };
    std::vector<AddedToken> tokens_;
    TextMap<size_t> by_content_;
    std::unordered_map<int64_t, size_t> by_id_;
    Trie raw_, normalized_;
    int64_t id_limit_ = 0;
};

} // namespace dorabench
