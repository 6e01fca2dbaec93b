#pragma once
// Words the way the field's Python scorers cut them, and case folding as Python's str.lower.
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

// Runs of white space (Unicode's, the no-break space among it) separate; none at the ends.
std::vector<std::string> split_white_space(std::string_view text);
std::vector<std::string_view> white_space_words(std::string_view text); // the same, as views into text
// Without that white space at both ends.
std::string strip_white_space(std::string_view text);
std::string lower_unicode(std::string_view text);

} // namespace dorabench
