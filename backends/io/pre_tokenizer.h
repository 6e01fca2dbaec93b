#pragma once
// The `pre_tokenizer` of a tokenizer.json: Split, ByteLevel, Metaspace, Digits, Sequence. Cuts text into the
// words that the model sees one by one.
#include "backends/io/json_place.h"
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

// A text and its words in order, none of them empty.
struct Pieces {
    struct Range {
        size_t begin, end;
    };
    std::string text;
    std::vector<Range> ranges;
    bool at_start = false; // the first word begins where the whole input began (Metaspace asks)

    Pieces(std::string whole, bool start) : text(std::move(whole)), at_start(start) {
        if (!text.empty()) ranges.push_back({0, text.size()});
    }
    std::string_view word(const Range& r) const {
        return std::string_view(text).substr(r.begin, r.end - r.begin);
    }
};

using PreTokenizer = std::function<void(Pieces& pieces)>;
PreTokenizer parse_pre_tokenizer(const Json& node, const JsonPlace& place); // null: the text is one word

// GPT-2's table of a printable character for every byte.
const std::string& byte_character(unsigned char byte);
int byte_of_character(char32_t c); // -1: none

} // namespace dorabench
