#include "tasks/metrics/vqa_normalise.h"

#include "harness/base/text.h"
#include "tasks/metrics/words.h"

namespace dorabench {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool has_comma_between_digits(const std::string& text) {
    for (size_t i = 1; i + 1 < text.size(); ++i)
        if (text[i] == ',' && is_digit(text[i - 1]) && is_digit(text[i + 1])) return true;
    return false;
}

// Dots that no digit follows go; the script's limit of 32 is a flag of the regular expression in the wrong
// place.
std::string without_dots(const std::string& text) {
    std::string out;
    int left = 32;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '.' && left > 0 && !(i + 1 < text.size() && is_digit(text[i + 1]))) {
            --left;
        } else {
            out += text[i];
        }
    }
    return out;
}

} // namespace

std::string vqa_trim(std::string_view answer) {
    return strip_white_space(replace_all(replace_all(std::string(answer), "\n", " "), "\t", " "));
}

std::string vqa_punctuation(const std::string& answer) {
    static constexpr std::string_view kSigns = ";/[]\"{}()=+\\_-><@`,?!";
    const bool number = has_comma_between_digits(answer);
    std::string out = answer;
    for (char sign : kSigns) { // whether a sign goes or becomes a space hangs on the text as it was
        bool beside_space = answer.find(std::string{sign, ' '}) != std::string::npos ||
                            answer.find(std::string{' ', sign}) != std::string::npos;
        out = replace_all(out, std::string_view(&sign, 1), number || beside_space ? "" : " ");
    }
    return without_dots(out);
}

std::string vqa_digits_and_articles(const std::string& answer) {
    static const std::unordered_map<std::string, std::string> kNumbers = {
        {"none", "0"}, {"zero", "0"}, {"one", "1"},   {"two", "2"},   {"three", "3"}, {"four", "4"},
        {"five", "5"}, {"six", "6"},  {"seven", "7"}, {"eight", "8"}, {"nine", "9"},  {"ten", "10"}};
    std::vector<std::string> out;
    for (std::string& word : split_white_space(lower_unicode(answer))) {
        if (auto number = kNumbers.find(word); number != kNumbers.end()) word = number->second;
        if (word == "a" || word == "an" || word == "the") continue;
        if (auto form = vqa_contractions().find(word); form != vqa_contractions().end()) word = form->second;
        out.push_back(word);
    }
    return join(out, " ");
}

std::string vqa_normalise(std::string_view answer) {
    return vqa_digits_and_articles(vqa_punctuation(vqa_trim(answer)));
}

std::string vqa_normalise_m4c(std::string_view answer) {
    std::string text = lower_unicode(answer);
    text = replace_all(replace_all(text, ",", ""), "?", "");
    return vqa_normalise(strip_white_space(replace_all(text, "'s", " 's")));
}

} // namespace dorabench
