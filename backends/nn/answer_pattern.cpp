#include "backends/nn/answer_pattern.h"
#include "harness/base/error.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace dorabench {

AnswerPattern::AnswerPattern(const std::string& pattern) {
    int code = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                         PCRE2_UTF | PCRE2_UCP, &code, &offset, nullptr);
    if (!compiled) {
        PCRE2_UCHAR reason[256];
        pcre2_get_error_message(code, reason, sizeof reason);
        throw Error::config("expected a regular expression, got \"", pattern,
                            "\": ", reinterpret_cast<const char*>(reason), " at character ", offset);
    }
    code_ = std::shared_ptr<void>(compiled, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
}

std::optional<AnswerPattern::Match> AnswerPattern::first(std::string_view text) const {
    const auto* code = static_cast<const pcre2_code*>(code_.get());
    std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
        pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free);
    const int found =
        pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data.get(), nullptr);
    if (found <= 0) return std::nullopt;
    const PCRE2_SIZE* at = pcre2_get_ovector_pointer(data.get());
    return Match{std::string(text.substr(at[0], at[1] - at[0])), at[1] < text.size()};
}

} // namespace dorabench
