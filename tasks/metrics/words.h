#pragma once
// Words and n-grams the way the field's Python scorers cut them, and case folding as Python's str.lower.
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dorabench {

// Runs of white space (Unicode's, the no-break space among it) separate; none at the ends.
std::vector<std::string> split_white_space(std::string_view text);
// Without that white space at both ends.
std::string strip_white_space(std::string_view text);
std::string lower_unicode(std::string_view text);

// Counts of all n-grams of order 1..max_order. Words of an n-gram are joined by U+001F, which is white space
// and thus in no word.
std::unordered_map<std::string, int64_t> count_ngrams(const std::vector<std::string>& words,
                                                      size_t max_order);
size_t ngram_order(std::string_view ngram); // 1..

} // namespace dorabench
