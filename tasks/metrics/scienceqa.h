#pragma once
// ScienceQA as LLaVA scores it (eval_science_qa.py): which letter does a free answer name?
#include <optional>
#include <string>

namespace dorabench {

// The letter: the whole text, or "X. " at its start, or the only match of "The answer is X" and one further
// character. Nothing when the original says FAILED.
std::optional<char> scienceqa_letter(const std::string& text);

} // namespace dorabench
