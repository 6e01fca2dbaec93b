#include "backends/io/utf8.h"

namespace dorabench {

std::string repair_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    size_t at = 0;
    while (at < text.size()) {
        auto c = (unsigned char)text[at];
        size_t need = c < 0x80                 ? 0
                      : c >= 0xC2 && c <= 0xDF ? 1
                      : c >= 0xE0 && c <= 0xEF ? 2
                      : c >= 0xF0 && c <= 0xF4 ? 3
                                               : 4;
        bool good = need < 4;
        size_t have = 0; // following bytes that fit
        for (; good && have < need; ++have) {
            if (at + 1 + have >= text.size()) break;
            auto next = (unsigned char)text[at + 1 + have];
            unsigned char low = 0x80, high = 0xBF;
            if (have == 0) { // no overlong forms, no surrogates, nothing past U+10FFFF
                if (c == 0xE0) low = 0xA0;
                if (c == 0xED) high = 0x9F;
                if (c == 0xF0) low = 0x90;
                if (c == 0xF4) high = 0x8F;
            }
            if (next < low || next > high) break;
        }
        if (good && have == need)
            out.append(text.substr(at, need + 1));
        else
            out += "\xEF\xBF\xBD";
        at += 1 + have;
    }
    return out;
}

} // namespace dorabench
