#pragma once
// The regular expression that reads an answer out of generated text (GenerateOptions::decided), so that
// decoding can end as soon as the answer cannot change any more.
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace dorabench {

class AnswerPattern {
public:
    explicit AnswerPattern(const std::string& pattern); // Error::config when it is not a regular expression
    struct Match {
        std::string text;
        bool settled = false; // further text stands behind it
    };
    std::optional<Match> first(std::string_view text) const; // nothing in text that is not UTF-8
private:
    std::shared_ptr<void> code_;
};

} // namespace dorabench
