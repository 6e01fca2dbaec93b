#pragma once
// METEOR's own tokenisation (its option -norm) for English: punctuation apart, short forms split, hyphens
// opened, dots of abbreviations settled, lower case. Derived from its observed behaviour (design: metrics,
// section 10).
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dorabench {

// prefixes: words that keep their dot (true: only before a number), as in MeteorData.
std::vector<std::string> meteor_words(std::string_view text,
                                      const std::unordered_map<std::string, bool>& prefixes);

} // namespace dorabench
