#pragma once
// The patterns of tokenizer.json: literal text, or a regular expression in Oniguruma's dialect, run by PCRE2
// with JIT. What the two engines read differently is rewritten (\s without U+180E, \w with all marks, scripts
// without extensions, ^ and $ at every line); what cannot be rewritten is refused.
#include "backends/io/json_place.h"
#include <functional>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;

namespace dorabench {

class Pattern {
public:
    static Pattern literal(std::string text);
    static Pattern regex(const std::string& expression,
                         const JsonPlace& place);                   // Error::data: invalid or unsupported
    static Pattern parse(const Json& node, const JsonPlace& place); // {"String": …} or {"Regex": …}
    // Calls f(begin, end) for every match from left to right, as Oniguruma's iterator: an empty match is left
    // out where the last match ended. `text` must be valid UTF-8. Error::data when matching runs past its
    // limits.
    void for_each(std::string_view text, const std::function<void(size_t begin, size_t end)>& f) const;
    std::string replace(std::string_view text, std::string_view by) const;

private:
    std::string text_; // the literal, or the expression for messages
    std::shared_ptr<pcre2_real_code_8> code_;
};

} // namespace dorabench
