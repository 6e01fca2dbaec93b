#pragma once
// The `normalizer` of a tokenizer.json: NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip, Sequence.
#include "backends/io/json_place.h"
#include <functional>
#include <string>

namespace dorabench {

using Normalizer = std::function<void(std::string& text)>; // valid UTF-8 in and out

Normalizer parse_normalizer(const Json& node, const JsonPlace& place); // null: leaves text alone

bool is_white_space(char32_t c); // Unicode White_Space
bool is_word(char32_t c);        // \w of Rust's regular expressions

} // namespace dorabench
