#include "tasks/metrics/ptb_tokenizer.h"

#include "harness/base/text.h"
#include "tasks/metrics/ptb_rules.h"
#include "tasks/metrics/text_pattern.h"
#include "tasks/metrics/words.h"
#include <algorithm>
#include <array>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

namespace dorabench {

namespace {

constexpr char32_t kSoftHyphen = 0xAD,
                   kDropped = 0xE000; // a private-use character: a token that is thrown away

// White space becomes a space, soft hyphens go, characters outside the basic plane (emoji) become kDropped.
std::string clean_line(std::string_view line, size_t limit = std::string_view::npos) {
    std::string out;
    out.reserve(std::min(line.size(), limit));
    const auto* bytes = reinterpret_cast<const uint8_t*>(line.data());
    for (int64_t at = 0, size = static_cast<int64_t>(line.size()); at < size && out.size() < limit;) {
        UChar32 c;
        U8_NEXT(bytes, at, size, c);
        if (c == kSoftHyphen) continue;
        if (c < 0 || c > 0xFFFF) c = kDropped;
        // U+00A0 and the other spaces separate words; only plain spaces are left
        if (c == 0x85) c = 0x2026; // an ellipsis in Windows' code page
        if (u_isUWhiteSpace(c) || u_charType(c) == U_CONTROL_CHAR) c = ' ';
        char buffer[4];
        int32_t length = 0;
        UBool failed = false;
        U8_APPEND(buffer, length, 4, c, failed);
        if (!failed) out.append(buffer, static_cast<size_t>(length));
    }
    return out;
}

bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

size_t character_length(std::string_view text, size_t at) {
    size_t length = 1;
    while (at + length < text.size() && (static_cast<unsigned char>(text[at + length]) & 0xC0) == 0x80)
        ++length;
    return length;
}

// A character that no rule wanted: a token of its own, or nothing for what the original cannot tokenise.
bool is_kept_alone(std::string_view character) {
    UChar32 c = 0;
    int64_t at = 0;
    const auto* bytes = reinterpret_cast<const uint8_t*>(character.data());
    U8_NEXT(bytes, at, static_cast<int64_t>(character.size()), c);
    if (c < 0x80) return true;
    if (c >= 0x3003 && c <= 0x3030) return false; // CJK brackets and marks
    switch (u_charType(c)) {
    case U_MATH_SYMBOL:
    case U_CURRENCY_SYMBOL:
    case U_MODIFIER_SYMBOL:
    case U_OTHER_SYMBOL:
    case U_OTHER_NUMBER:
    case U_OTHER_PUNCTUATION:
    case U_START_PUNCTUATION:
    case U_END_PUNCTUATION:
    case U_DASH_PUNCTUATION:
        return true;
    case U_INITIAL_PUNCTUATION:
        return c < 0x2E00;
    default:
        return false;
    }
}

} // namespace

struct PtbTokenizer::Impl {
    struct Compiled {
        TextPattern pattern;
        PtbRule rule;
    };
    std::vector<Compiled> rules;
    std::vector<std::string> split_words; // words of letters alone that are not one token

    Impl() {
        for (const PtbRule& rule : ptb_rules())
            rules.push_back({TextPattern(rule.expression, rule.caseless), rule});
        for (const auto& [word, at] : ptb_split_words()) split_words.push_back(word);
    }

    // A word of ASCII letters with white space behind it: by far the most frequent token, and no rule but the
    // split words can want more or less of it.
    size_t plain_word(std::string_view text, size_t at) const {
        size_t end = at;
        while (end < text.size() && is_ascii_letter(text[end])) ++end;
        if (end == at || (end < text.size() && text[end] != ' ' && text[end] != '\n')) return 0;
        std::string word = lower(text.substr(at, end - at));
        return std::find(split_words.begin(), split_words.end(), word) == split_words.end() ? end - at : 0;
    }

    // The longest match, the earlier rule where two are equally long; returns the bytes consumed.
    size_t next(std::string_view text, size_t at, std::string_view line,
                std::vector<std::string>& out) const {
        const Compiled* best = nullptr;
        TextMatch match;
        for (const Compiled& candidate : rules) {
            if (candidate.rule.needs && line.find(candidate.rule.needs) == std::string_view::npos) continue;
            auto found = candidate.pattern.match_at(text, at);
            if (found && found->end > found->begin &&
                (!best || found->end - found->begin > match.end - match.begin)) {
                best = &candidate;
                match = *found;
            }
        }
        if (!best) {
            size_t length = character_length(text, at);
            std::string_view character = text.substr(at, length);
            if (is_kept_alone(character)) out.push_back(lower_unicode(character));
            return length;
        }
        std::string token =
            lower_unicode(text.substr(match.group_begin, match.group_end - match.group_begin));
        emit_ptb_token(best->rule, token, out);
        return match.group_end - at;
    }
};

PtbTokenizer::PtbTokenizer() : impl_(std::make_unique<Impl>()) {}
PtbTokenizer::~PtbTokenizer() = default;

std::vector<std::string> PtbTokenizer::tokens(std::string_view line, std::string_view next_line) const {
    std::vector<std::string> out;
    std::string text = clean_line(line);
    const size_t size = text.size();
    text += '\n';
    text += clean_line(next_line, 64); // enough to see its first word
    std::string_view own = std::string_view(text).substr(0, size);
    for (size_t at = 0; at < size;) {
        if (text[at] == ' ') {
            ++at;
        } else if (size_t length = impl_->plain_word(text, at)) {
            out.push_back(lower(own.substr(at, length)));
            at += length;
        } else {
            at += std::max<size_t>(1, impl_->next(text, at, own, out));
        }
    }
    return out;
}

std::vector<std::string> PtbTokenizer::lines(const std::vector<std::string>& lines) const {
    std::vector<std::string> out;
    for (size_t i = 0; i < lines.size(); ++i)
        out.push_back(
            join(tokens(lines[i], i + 1 < lines.size() ? std::string_view(lines[i + 1]) : ""), " "));
    return out;
}

std::vector<std::string> PtbTokenizer::captions(const std::vector<std::string>& captions) const {
    static constexpr std::array<std::string_view, 17> kPunctuation = {
        "''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".",
        "?",  "!", ",",  ":", "-",     "--",    "...",   ";"};
    std::vector<std::string> out;
    for (size_t i = 0; i < captions.size(); ++i) {
        auto all = tokens(captions[i], i + 1 < captions.size() ? std::string_view(captions[i + 1]) : "");
        std::erase_if(all, [](const std::string& token) {
            return std::find(kPunctuation.begin(), kPunctuation.end(), token) != kPunctuation.end();
        });
        out.push_back(join(all, " "));
    }
    return out;
}

} // namespace dorabench
