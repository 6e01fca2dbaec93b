#include "backends/io/normalizer.h"
#include "backends/io/regex.h"
#include "backends/io/utf8.h"
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

namespace dorabench {

bool is_white_space(char32_t c) { return u_hasBinaryProperty(UChar32(c), UCHAR_WHITE_SPACE); }

bool is_word(char32_t c) {
    constexpr uint32_t kCategories = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
    return u_hasBinaryProperty(UChar32(c), UCHAR_ALPHABETIC) ||
           (U_MASK(u_charType(UChar32(c))) & kCategories) != 0 ||
           u_hasBinaryProperty(UChar32(c), UCHAR_JOIN_CONTROL);
}

namespace {

Normalizer unicode_form(const std::string& type, const JsonPlace& place) {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* form = type == "NFC"    ? icu::Normalizer2::getNFCInstance(status)
                                   : type == "NFD"  ? icu::Normalizer2::getNFDInstance(status)
                                   : type == "NFKC" ? icu::Normalizer2::getNFKCInstance(status)
                                                    : icu::Normalizer2::getNFKDInstance(status);
    if (U_FAILURE(status)) throw place.fail("ICU has no data for ", type, ": ", u_errorName(status));
    return [form](std::string& text) {
        UErrorCode error = U_ZERO_ERROR;
        if (text.size() >= size_t(1) << 31) throw Error::data("a text of 2 GiB or more cannot be normalised");
        icu::StringPiece in(text.data(), int32_t(text.size()));
        if (form->isNormalizedUTF8(in, error) && U_SUCCESS(error)) return;
        std::string out;
        icu::StringByteSink<std::string> sink(&out, int32_t(text.size()));
        error = U_ZERO_ERROR;
        form->normalizeUTF8(0, in, sink, nullptr, error);
        if (U_FAILURE(error)) throw Error::data("text cannot be normalised: ", u_errorName(error));
        text = std::move(out);
    };
}

// Code point by code point, as Rust's char::to_lowercase: no context (final sigma), one mapping of more than
// one.
void lowercase(std::string& text) {
    std::string out;
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
        char32_t c = next_code_point(text, at);
        if (c == 0x130)
            out += "i\xCC\x87";
        else
            append_code_point(out, char32_t(u_tolower(UChar32(c))));
    }
    text = std::move(out);
}

void strip(std::string& text, bool left, bool right) {
    size_t begin = 0, end = text.size();
    while (left && begin < end) {
        size_t at = begin;
        if (!is_white_space(next_code_point(text, at))) break;
        begin = at;
    }
    while (right && end > begin) {
        size_t at = end - 1;
        while (at > begin && ((unsigned char)text[at] & 0xC0) == 0x80) --at;
        size_t after = at;
        if (!is_white_space(next_code_point(text, after))) break;
        end = at;
    }
    text = text.substr(begin, end - begin);
}

} // namespace

Normalizer parse_normalizer(const Json& node, const JsonPlace& place) {
    if (node.is_null()) return [](std::string&) {};
    std::string type = place.text(node, "type");
    if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") return unicode_form(type, place);
    if (type == "Lowercase") return lowercase;
    if (type == "Strip")
        return [left = place.flag(node, "strip_left", true), right = place.flag(node, "strip_right", true)](
                   std::string& text) { strip(text, left, right); };
    if (type == "Prepend")
        return [prefix = place.text(node, "prepend")](std::string& text) {
            if (!text.empty()) text.insert(0, prefix);
        };
    if (type == "Replace")
        return [pattern = Pattern::parse(place.member(node, "pattern"), place.in("pattern")),
                content = place.text(node, "content")](std::string& text) {
            text = pattern.replace(text, content);
        };
    if (type == "Sequence") {
        std::vector<Normalizer> parts;
        for (const Json& part : place.array(node, "normalizers"))
            parts.push_back(
                parse_normalizer(part, place.in("normalizers[" + std::to_string(parts.size()) + "]")));
        return [parts](std::string& text) {
            for (const auto& part : parts) part(text);
        };
    }
    throw place.fail(
        "expected a normalizer NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip or Sequence; \"",
        type, "\" is not supported");
}

} // namespace dorabench
