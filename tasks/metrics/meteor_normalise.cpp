#include "tasks/metrics/meteor_normalise.h"

#include "harness/base/text.h"
#include "tasks/metrics/words.h"
#include <algorithm>
#include <functional>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

namespace dorabench {

namespace {

using Text = std::u32string;

Text decode(std::string_view text) {
    Text out;
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    for (int64_t at = 0, size = static_cast<int64_t>(text.size()); at < size;) {
        UChar32 c;
        U8_NEXT(bytes, at, size, c);
        out += c < 0 ? U'\xFFFD' : static_cast<char32_t>(c);
    }
    return out;
}

std::string encode(const Text& text) {
    std::string out;
    for (char32_t c : text) {
        char buffer[4];
        int32_t length = 0;
        U8_APPEND_UNSAFE(buffer, length, static_cast<UChar32>(c));
        out.append(buffer, static_cast<size_t>(length));
    }
    return out;
}

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
// Latin, its first supplement and extension, phonetic extensions, Cyrillic: METEOR's letters for English
bool is_letter(char32_t c) {
    return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z') ||
           (c >= 0xC0 && c <= 0x17E && c != 0xD7 && c != 0xF7) || (c >= 0x400 && c <= 0x527) ||
           (c >= 0x1D00 && c <= 0x1D7F) || (c >= 0xA640 && c <= 0xA66E) || (c >= 0xA67E && c <= 0xA697);
}

using Class = std::function<bool(char32_t)>;

// Replaces `before sign after` by `before inserted after`, left to right without overlaps: the character
// behind a replaced sign can't be the one before the next sign, as with a regular expression's replace-all.
Text replace_between(const Text& text, char32_t sign, const Class& before, const Class& after,
                     const Text& inserted) {
    Text out;
    size_t from = 0; // characters before this one belong to an earlier replacement
    for (size_t i = 0; i < text.size(); ++i) {
        bool hit =
            text[i] == sign && i > from && i + 1 < text.size() && before(text[i - 1]) && after(text[i + 1]);
        if (!hit) {
            out += text[i];
            continue;
        }
        out += inserted;
        out += text[++i];
        from = i + 1;
    }
    return out;
}

// Quotation marks and dashes of all kinds become ' " and -.
Text plain_marks(const Text& text) {
    Text out;
    for (size_t i = 0; i < text.size(); ++i) {
        char32_t c = text[i], next = i + 1 < text.size() ? text[i + 1] : U' ';
        if (c == U'`' || c == 0x2018 || c == 0x2019) c = U'\'';
        if (next == U'`' || next == 0x2018 || next == 0x2019) next = U'\'';
        if (c == U'\'' && next == U'\'') {
            c = U'"';
            ++i;
        }
        if (c == 0x201C || c == 0x201D) c = U'"';
        if (c == U'-' && text[i] == U'-' && next == U'-') ++i;
        if (c == 0x2013) {
            out += U" - ";
        } else {
            out += c;
        }
    }
    return out;
}

// Spaces round every sign that can't be inside a word, and round runs of dots.
Text spaced_signs(const Text& text) {
    Text out = U" ";
    for (size_t i = 0; i < text.size(); ++i) {
        char32_t c = text[i];
        if (u_isUWhiteSpace(static_cast<UChar32>(c)) ||
            u_charType(static_cast<UChar32>(c)) == U_CONTROL_CHAR) {
            out += U' ';
        } else if (c == U'.' && i + 1 < text.size() && text[i + 1] == U'.') {
            out += U' ';
            for (; i < text.size() && text[i] == U'.'; ++i) out += U'.';
            --i;
            out += U' ';
        } else if (is_letter(c) || is_digit(c) || c == U'.' || c == U'\'' || c == U',' || c == U'-') {
            out += c;
        } else {
            out += U' ';
            out += c;
            out += U' ';
        }
    }
    return out + U" ";
}

Text split_commas_hyphens_apostrophes(Text text) {
    const Class letter = is_letter, digit = is_digit;
    const Class no_letter = [](char32_t c) { return !is_letter(c); },
                no_digit = [](char32_t c) { return !is_digit(c); };
    const Class neither = [](char32_t c) { return !is_letter(c) && !is_digit(c); };
    const Class either = [](char32_t c) { return is_letter(c) || is_digit(c); };
    const Class is_s = [](char32_t c) { return c == U's'; };
    text = replace_between(text, U',', no_digit, no_digit, U" , ");
    text = replace_between(text, U',', digit, no_digit, U" , ");
    text = replace_between(text, U',', no_digit, digit, U" , ");
    text = replace_between(text, U'-', either, either, U" ");
    text = replace_between(text, U'\'', no_letter, no_letter, U" ' ");
    text = replace_between(text, U'\'', neither, letter, U" ' ");
    text = replace_between(text, U'\'', letter, no_letter, U" ' ");
    text = replace_between(text, U'\'', letter, letter, U" '");
    return replace_between(text, U'\'', digit, is_s, U" '");
}

// What becomes of the dot at the end of words[i].
void settle_dot(const std::vector<std::string>& words, size_t i,
                const std::unordered_map<std::string, bool>& prefixes, std::vector<std::string>& out) {
    const std::string& word = words[i];
    bool dots_alone = std::all_of(word.begin(), word.end(), [](char c) { return c == '.'; });
    if (word.size() < 2 || word.back() != '.' || dots_alone) {
        out.push_back(word);
        return;
    }
    std::string stem = word.substr(0, word.size() - 1);
    Text decoded = decode(stem);
    if (stem.find('.') != std::string::npos && std::any_of(decoded.begin(), decoded.end(), is_letter)) {
        out.push_back(replace_all(stem, ".", ""));
        return;
    }
    char next = i + 1 < words.size() ? words[i + 1][0] : ' ';
    auto prefix = prefixes.find(stem);
    bool known = prefix != prefixes.end() && (!prefix->second || (next >= '0' && next <= '9'));
    if (known || (next >= 'a' && next <= 'z')) {
        out.push_back(word);
    } else {
        out.push_back(stem);
        out.push_back(".");
    }
}

} // namespace

std::vector<std::string> meteor_words(std::string_view text,
                                      const std::unordered_map<std::string, bool>& prefixes) {
    Text spaced = split_commas_hyphens_apostrophes(spaced_signs(plain_marks(decode(text))));
    const auto words = split_white_space(encode(spaced));
    std::vector<std::string> out;
    for (size_t i = 0; i < words.size(); ++i) settle_dot(words, i, prefixes, out);
    for (std::string& word : out) word = lower_unicode(word);
    return out;
}

} // namespace dorabench
