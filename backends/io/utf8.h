#pragma once
// UTF-8 at the level that tokenizers need: one code point at a time, and the replacement of ill-formed bytes.
#include <cstdint>
#include <string>
#include <string_view>

namespace dorabench {

// Length of the sequence that a lead byte of valid UTF-8 begins.
inline size_t utf8_length(char lead) {
    auto c = (unsigned char)lead;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

// The code point at `at` of valid UTF-8; moves `at` behind it.
inline char32_t next_code_point(std::string_view text, size_t& at) {
    size_t n = utf8_length(text[at]);
    if (at + n > text.size()) n = text.size() - at;
    auto c = char32_t((unsigned char)text[at]);
    if (n > 1) c &= 0x7Fu >> n;
    for (size_t i = 1; i < n; ++i) c = c << 6 | ((unsigned char)text[at + i] & 0x3F);
    at += n;
    return c;
}

inline void append_code_point(std::string& out, char32_t c) {
    if (c < 0x80) {
        out += char(c);
    } else if (c < 0x800) {
        out += char(0xC0 | c >> 6);
        out += char(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        out += char(0xE0 | c >> 12);
        out += char(0x80 | (c >> 6 & 0x3F));
        out += char(0x80 | (c & 0x3F));
    } else {
        out += char(0xF0 | c >> 18);
        out += char(0x80 | (c >> 12 & 0x3F));
        out += char(0x80 | (c >> 6 & 0x3F));
        out += char(0x80 | (c & 0x3F));
    }
}

// U+FFFD for every maximal ill-formed part (Unicode 15, section 3.9, table 3-8; what Rust's from_utf8_lossy
// does).
std::string repair_utf8(std::string_view text);

} // namespace dorabench
