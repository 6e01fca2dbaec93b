#pragma once
// MMBench (Liu et al. 2023): which option does a free answer name?
#include <map>
#include <string>

namespace dorabench {

// options: letter -> text. The option's letter by VLMEvalKit's rules (a letter among the last words, "answer
// is X", the text of exactly one option), or "" where they find none: that counts as wrong.
std::string mmbench_option(const std::string& answer, const std::map<std::string, std::string>& options);

} // namespace dorabench
