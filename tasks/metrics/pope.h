#pragma once
// POPE (Li et al. 2023): does a free answer say yes or no?
#include <string>

namespace dorabench {

// The original's reading: of the text before the first dot, without commas, cut at single spaces, "no" if any
// word is exactly No, not or no; else yes.
bool pope_says_yes(const std::string& answer);

} // namespace dorabench
