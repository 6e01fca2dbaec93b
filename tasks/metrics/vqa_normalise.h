#pragma once
// Answer normalisation of the VQA evaluation (GT-Vision-Lab/VQA, vqaEval.py) and its TextVQA (M4C, EvalAI)
// variant, with their quirks (design: metrics, section 1).
#include <string>
#include <string_view>
#include <unordered_map>

namespace dorabench {

// Line breaks and tabs become spaces, none at the ends: done to every answer before anything else.
std::string vqa_trim(std::string_view answer);
// The two steps of the official normaliser.
std::string vqa_punctuation(const std::string& answer);
std::string vqa_digits_and_articles(const std::string& answer); // and contractions, lower case
std::string vqa_normalise(std::string_view answer);             // trim and both steps
std::string vqa_normalise_m4c(std::string_view answer);
const std::unordered_map<std::string, std::string>& vqa_contractions();

} // namespace dorabench
