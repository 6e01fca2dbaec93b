#include "backends/io/pre_tokenizer.h"
#include "backends/io/regex.h"
#include "backends/io/utf8.h"
#include <array>
#include <unicode/uchar.h>

namespace dorabench {
namespace {

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct Part {
    size_t begin, end;
    bool match; // of the pattern; after the behaviour has been applied: to be removed
};

// Calls its second argument for every match in a word.
using Finder = std::function<void(std::string_view, const std::function<void(size_t, size_t)>&)>;

void apply(Behavior behavior, std::vector<Part>& parts) {
    if (behavior == Behavior::removed) return;
    std::vector<Part> out;
    bool previous = false;
    if (behavior == Behavior::merged_with_next) {
        for (auto p = parts.rbegin(); p != parts.rend(); ++p) {
            if (p->match && !previous && !out.empty())
                out.back().begin = p->begin;
            else
                out.push_back({p->begin, p->end, false});
            previous = p->match;
        }
        parts.assign(out.rbegin(), out.rend());
        return;
    }
    for (const Part& p : parts) {
        bool joins = behavior == Behavior::contiguous             ? p.match == previous
                     : behavior == Behavior::merged_with_previous ? p.match && !previous
                                                                  : false;
        if (joins && !out.empty())
            out.back().end = p.end;
        else
            out.push_back({p.begin, p.end, false});
        previous = p.match;
    }
    parts = std::move(out);
}

void split(Pieces& pieces, Behavior behavior, bool invert, const Finder& find) {
    if (pieces.ranges.empty()) return;
    size_t start = pieces.ranges.front().begin;
    std::vector<Pieces::Range> out;
    std::vector<Part> parts;
    for (const auto& range : pieces.ranges) {
        parts.clear();
        size_t last = 0, size = range.end - range.begin;
        find(pieces.word(range), [&](size_t begin, size_t end) {
            if (last != begin) parts.push_back({last, begin, invert});
            parts.push_back({begin, end, !invert});
            last = end;
        });
        if (last != size) parts.push_back({last, size, invert});
        apply(behavior, parts);
        for (const Part& p : parts)
            if (!p.match && p.begin < p.end) out.push_back({range.begin + p.begin, range.begin + p.end});
    }
    pieces.ranges = std::move(out);
    pieces.at_start = pieces.at_start && !pieces.ranges.empty() && pieces.ranges.front().begin == start;
}

// Every word anew: f appends what becomes of it.
void rewrite(Pieces& pieces,
             const std::function<void(std::string_view word, bool at_start, std::string& out)>& f) {
    std::string text;
    text.reserve(pieces.text.size() + pieces.text.size() / 4);
    bool at_start = pieces.at_start;
    for (auto& range : pieces.ranges) {
        size_t begin = text.size();
        f(pieces.word(range), at_start, text);
        range = {begin, text.size()};
        at_start = false;
    }
    pieces.text = std::move(text);
}

Behavior parse_behavior(const Json& node, const JsonPlace& place) {
    std::string name = place.text(node, "behavior");
    if (name == "Removed") return Behavior::removed;
    if (name == "Isolated") return Behavior::isolated;
    if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
    if (name == "MergedWithNext") return Behavior::merged_with_next;
    if (name == "Contiguous") return Behavior::contiguous;
    throw place.fail(
        "behavior: expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous, got \"",
        name, "\"");
}

PreTokenizer split_by_pattern(const Json& node, const JsonPlace& place) {
    return
        [pattern = Pattern::parse(place.member(node, "pattern"), place.in("pattern")),
         behavior = parse_behavior(node, place), invert = place.flag(node, "invert", false)](Pieces& pieces) {
            split(pieces, behavior, invert,
                  [&](std::string_view word, const auto& f) { pattern.for_each(word, f); });
        };
}

PreTokenizer byte_level(const Json& node, const JsonPlace& place) {
    // the expression of GPT-2's encoder (Radford et al. 2019)
    Pattern words = Pattern::regex(
        R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", place);
    bool prefix = place.flag(node, "add_prefix_space", true), use_regex = place.flag(node, "use_regex", true);
    return [words, prefix, use_regex](Pieces& pieces) {
        if (prefix)
            rewrite(pieces, [](std::string_view word, bool, std::string& out) {
                if (word.front() != ' ') out += ' ';
                out += word;
            });
        if (use_regex)
            split(pieces, Behavior::isolated, false,
                  [&](std::string_view word, const auto& f) { words.for_each(word, f); });
        rewrite(pieces, [](std::string_view word, bool, std::string& out) {
            for (char c : word) out += byte_character((unsigned char)c);
        });
    };
}

PreTokenizer metaspace(const Json& node, const JsonPlace& place) {
    std::string mark = place.text(node, "replacement");
    if (mark.empty()) throw place.fail("replacement: expected a character, got none");
    std::string scheme = place.text_or(node, "prepend_scheme",
                                       place.flag(node, "add_prefix_space", true) ? "always" : "never");
    if (scheme != "always" && scheme != "first" && scheme != "never")
        throw place.fail("prepend_scheme: expected always, first or never, got \"", scheme, "\"");
    bool cut = place.flag(node, "split", true);
    return [mark, scheme, cut](Pieces& pieces) {
        rewrite(pieces, [&](std::string_view word, bool at_start, std::string& out) {
            size_t begin = out.size();
            for (char c : word)
                if (c == ' ')
                    out += mark;
                else
                    out += c;
            bool wanted = scheme == "always" || (scheme == "first" && at_start);
            if (wanted && out.compare(begin, mark.size(), mark) != 0) out.insert(begin, mark);
        });
        if (cut)
            split(pieces, Behavior::merged_with_next, false,
                  [pattern = Pattern::literal(mark)](std::string_view word, const auto& f) {
                      pattern.for_each(word, f);
                  });
    };
}

void each_digit(std::string_view word, const std::function<void(size_t, size_t)>& f) {
    for (size_t at = 0; at < word.size();) {
        size_t begin = at;
        char32_t c = next_code_point(word, at);
        if (U_MASK(u_charType(UChar32(c))) & U_GC_N_MASK) f(begin, at);
    }
}

} // namespace

PreTokenizer parse_pre_tokenizer(const Json& node, const JsonPlace& place) {
    if (node.is_null()) return [](Pieces&) {};
    std::string type = place.text(node, "type");
    if (type == "Split") return split_by_pattern(node, place);
    if (type == "ByteLevel") return byte_level(node, place);
    if (type == "Metaspace") return metaspace(node, place);
    if (type == "Digits")
        return [one = place.flag(node, "individual_digits", false)](Pieces& pieces) {
            split(pieces, one ? Behavior::isolated : Behavior::contiguous, false, each_digit);
        };
    if (type == "Sequence") {
        std::vector<PreTokenizer> parts;
        for (const Json& part : place.array(node, "pretokenizers"))
            parts.push_back(
                parse_pre_tokenizer(part, place.in("pretokenizers[" + std::to_string(parts.size()) + "]")));
        return [parts](Pieces& pieces) {
            for (const auto& part : parts) part(pieces);
        };
    }
    throw place.fail("expected a pre-tokenizer Split, ByteLevel, Metaspace, Digits or Sequence; \"", type,
                     "\" is not supported");
}

namespace {

struct ByteTable {
    std::array<std::string, 256> character;
    std::array<int, 512> byte;
    ByteTable() {
        byte.fill(-1);
        char32_t next = 256; // bytes that print as nothing get the characters from U+0100 on
        for (int b = 0; b < 256; ++b) {
            bool prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
            char32_t c = prints ? char32_t(b) : next++;
            append_code_point(character[size_t(b)], c);
            byte[c] = b;
        }
    }
};
const ByteTable& byte_table() {
    static const ByteTable table;
    return table;
}

} // namespace

const std::string& byte_character(unsigned char byte) { return byte_table().character[byte]; }
int byte_of_character(char32_t c) { return c < byte_table().byte.size() ? byte_table().byte[c] : -1; }

} // namespace dorabench
