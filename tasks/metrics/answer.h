#pragma once
// Takes the answer out of what a model wrote: a regular expression over the text, its first or its last
// match. Syntax and classes are Python's as far as PCRE2 shares them (\d and \w are Unicode's), because the
// field's extractors are written in it. A match is never guessed: no match is no answer.
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace dorabench {

struct AnswerRule {
    std::string pattern; // empty: the whole text without white space around it
    bool last = false;   // the last match instead of the first
    bool ignore_case = false;
};

class AnswerPattern {
public:
    explicit AnswerPattern(
        const AnswerRule& rule = {}); // Error::config: what is wrong with the expression, and where
    // The match (its first group where the expression has one, as Python's findall gives); nothing when there
    // is none, or, without an expression, when the text is blank.
    std::optional<std::string> find(std::string_view text) const;
    const AnswerRule& rule() const { return rule_; }

private:
    struct Code;
    AnswerRule rule_;
    std::shared_ptr<const Code> code_;
};

} // namespace dorabench
