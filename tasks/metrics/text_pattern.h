#pragma once
// A compiled regular expression (PCRE2, UTF-8), owned. Matching never throws: a pattern that hits PCRE2's own
// limits on hostile text counts as "no match".
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

struct TextMatch {
    size_t begin = 0, end = 0;             // whole match, byte offsets
    size_t group_begin = 0, group_end = 0; // group 1, or the whole match where there is none
};

class TextPattern {
public:
    explicit TextPattern(const std::string& expression,
                         bool caseless = false); // Error::internal for a bad expression
    ~TextPattern();
    TextPattern(TextPattern&&) noexcept;
    TextPattern& operator=(TextPattern&&) noexcept;
    // Only a match that starts at byte `at`. The subject must be valid UTF-8: this one is called often and
    // does not look.
    std::optional<TextMatch> match_at(std::string_view subject, size_t at) const;
    // In text that is not UTF-8 nothing matches.
    std::optional<TextMatch> find(std::string_view subject, size_t from = 0) const;
    std::vector<TextMatch> find_all(std::string_view subject) const; // without overlaps

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace dorabench
