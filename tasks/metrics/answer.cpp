#define PCRE2_CODE_UNIT_WIDTH 8
#include "tasks/metrics/answer.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <pcre2.h>

namespace dorabench {

struct AnswerPattern::Code {
    std::unique_ptr<pcre2_code, void (*)(pcre2_code*)> code{nullptr, pcre2_code_free};
};

namespace {

std::string pcre2_message(int number) {
    PCRE2_UCHAR text[256];
    if (pcre2_get_error_message(number, text, sizeof text) < 0) return cat("error ", number);
    return reinterpret_cast<const char*>(text);
}

} // namespace

AnswerPattern::AnswerPattern(const AnswerRule& rule) : rule_(rule) {
    if (rule.pattern.empty()) return;
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF;
    if (rule.ignore_case) options |= PCRE2_CASELESS;
    int error = 0;
    PCRE2_SIZE offset = 0;
    auto code = std::make_shared<Code>();
    code->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rule.pattern.data()), rule.pattern.size(),
                                   options, &error, &offset, nullptr));
    if (!code->code)
        throw Error::config("answer pattern \"", rule.pattern,
                            "\": expected a regular expression, but at character ", offset + 1, ": ",
                            pcre2_message(error));
    code_ = std::move(code);
}

std::optional<std::string> AnswerPattern::find(std::string_view text) const {
    if (!code_) {
        std::string whole = trim(text);
        return whole.empty() ? std::nullopt : std::optional<std::string>(std::move(whole));
    }
    std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
        pcre2_match_data_create_from_pattern(code_->code.get(), nullptr), pcre2_match_data_free);
    std::optional<std::string> found;
    for (size_t from = 0; from <= text.size();) {
        int groups = pcre2_match(code_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                 from, 0, match.get(), nullptr);
        if (groups == PCRE2_ERROR_NOMATCH) break;
        if (groups < 0)
            throw Error::config("answer pattern \"", rule_.pattern,
                                "\": cannot be matched: ", pcre2_message(groups),
                                "; simplify the expression");
        const PCRE2_SIZE* at = pcre2_get_ovector_pointer(match.get());
        size_t group = groups > 1 && at[2] != PCRE2_UNSET ? 1 : 0;
        size_t begin = at[2 * group], end = at[2 * group + 1];
        found = std::string(text.substr(begin, end > begin ? end - begin : 0));
        if (!rule_.last) break;
        from = at[1] > from ? at[1] : from + 1; // an empty match must not be found for ever
    }
    return found;
}

} // namespace dorabench
