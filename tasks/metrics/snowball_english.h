#pragma once
// The Snowball English stemmer (Porter 2): M. F. Porter, "The English (Porter2) stemming algorithm", 2002.
// Lower-case words.
#include <string>
#include <string_view>

namespace dorabench {

std::string snowball_english(std::string_view word);

} // namespace dorabench
