#pragma once
// Penn Treebank tokens as the caption metrics use them: what Stanford's PTBTokenizer 3.4.1 with
// -preserveLines -lowerCase gives, written anew from its observed behaviour (design: metrics, section 9),
// then the caption evaluation's list of punctuation tokens dropped. The original reads all captions as one
// text, so whether the dot behind an abbreviation stays may hang on the first word of the next line; hence
// the functions over several lines.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

class PtbTokenizer {
public:
    PtbTokenizer();
    ~PtbTokenizer();
    // Lower-cased tokens of one line (line breaks inside count as spaces); next_line: what follows it in the
    // text.
    std::vector<std::string> tokens(std::string_view line, std::string_view next_line = {}) const;
    // The tokens of every line, joined by single spaces, punctuation still there.
    std::vector<std::string> lines(const std::vector<std::string>& lines) const;
    // As lines(), without the punctuation tokens: what the caption scorers read.
    std::vector<std::string> captions(const std::vector<std::string>& captions) const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace dorabench
