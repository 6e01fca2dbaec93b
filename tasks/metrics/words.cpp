#include "tasks/metrics/words.h"

#include "harness/base/text.h"
#include <algorithm>
#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

namespace dorabench {

namespace {

// White space of Python's str.split: Unicode's, and the four information separators.
bool is_space(UChar32 c) {
    if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
    return u_isUWhiteSpace(c);
}

// Calls f(begin, end) for every run of characters that are not white space.
template <typename F>
void for_each_word(std::string_view text, F f) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    const auto size = static_cast<int64_t>(text.size());
    int64_t begin = -1;
    for (int64_t at = 0; at < size;) {
        int64_t here = at;
        UChar32 c;
        U8_NEXT(bytes, at, size, c);
        if (c >= 0 && is_space(c)) {
            if (begin >= 0) f(static_cast<size_t>(begin), static_cast<size_t>(here));
            begin = -1;
        } else if (begin < 0) {
            begin = here;
        }
    }
    if (begin >= 0) f(static_cast<size_t>(begin), text.size());
}

} // namespace

std::vector<std::string> split_white_space(std::string_view text) {
    std::vector<std::string> words;
    for_each_word(text,
                  [&](size_t begin, size_t end) { words.emplace_back(text.substr(begin, end - begin)); });
    return words;
}

std::vector<std::string_view> white_space_words(std::string_view text) {
    std::vector<std::string_view> words;
    for_each_word(text, [&](size_t begin, size_t end) { words.push_back(text.substr(begin, end - begin)); });
    return words;
}

std::string strip_white_space(std::string_view text) {
    size_t first = text.size(), last = text.size();
    for_each_word(text, [&](size_t begin, size_t end) {
        first = std::min(first, begin);
        last = end;
    });
    return std::string(text.substr(first, last - first));
}

std::string lower_unicode(std::string_view text) {
    if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
        return lower(text);
    std::string out;
    icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())))
        .toLower(icu::Locale::getEnglish())
        .toUTF8String(out);
    return out;
}

} // namespace dorabench
