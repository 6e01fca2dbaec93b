#define PCRE2_CODE_UNIT_WIDTH 8
#include "tasks/metrics/text_pattern.h"

#include "harness/base/error.h"
#include "harness/base/text.h"
#include <pcre2.h>

namespace dorabench {

struct TextPattern::Impl {
    pcre2_code* code = nullptr;
    pcre2_match_data* data = nullptr;
    ~Impl() {
        pcre2_match_data_free(data);
        pcre2_code_free(code);
    }
    std::optional<TextMatch> run(std::string_view subject, size_t at, uint32_t options) const;
};

TextPattern::TextPattern(const std::string& expression, bool caseless) : impl_(std::make_unique<Impl>()) {
    int error = 0;
    PCRE2_SIZE where = 0;
    uint32_t options = PCRE2_UTF | PCRE2_UCP | (caseless ? PCRE2_CASELESS : 0);
    impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(), options,
                                &error, &where, nullptr);
    if (!impl_->code)
        throw Error::internal("a valid pattern expected, got ", expression, " (error at ", where, ")");
    pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE);
    impl_->data = pcre2_match_data_create_from_pattern(impl_->code, nullptr);
}

TextPattern::~TextPattern() = default;
TextPattern::TextPattern(TextPattern&&) noexcept = default;
TextPattern& TextPattern::operator=(TextPattern&&) noexcept = default;

std::optional<TextMatch> TextPattern::Impl::run(std::string_view subject, size_t at, uint32_t options) const {
    if (at > subject.size()) return std::nullopt;
    int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), at,
                            options | PCRE2_NO_UTF_CHECK, data, nullptr);
    if (found <= 0) return std::nullopt;
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data);
    TextMatch match{span[0], span[1], span[0], span[1]};
    if (found > 1 && span[2] != PCRE2_UNSET) {
        match.group_begin = span[2];
        match.group_end = span[3];
    }
    return match;
}

std::optional<TextMatch> TextPattern::match_at(std::string_view subject, size_t at) const {
    return impl_->run(subject, at, PCRE2_ANCHORED);
}

std::optional<TextMatch> TextPattern::find(std::string_view subject, size_t from) const {
    if (invalid_utf8(subject) != std::string_view::npos) return std::nullopt;
    return impl_->run(subject, from, 0);
}

std::vector<TextMatch> TextPattern::find_all(std::string_view subject) const {
    std::vector<TextMatch> matches;
    if (invalid_utf8(subject) != std::string_view::npos) return matches;
    for (size_t from = 0; from <= subject.size();) {
        auto match = impl_->run(subject, from, 0);
        if (!match) break;
        matches.push_back(*match);
        if (match->end > match->begin) {
            from = match->end;
        } else { // an empty match: go on behind the next character
            for (++from; from < subject.size() && (static_cast<unsigned char>(subject[from]) & 0xC0) == 0x80;)
                ++from;
        }
    }
    return matches;
}

} // namespace dorabench
