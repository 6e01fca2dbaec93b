#pragma once
// tokenizer.json for the synthetic worlds of the quickstart: byte-level BPE without merges (ignore_merges,
// the Split expression of LLaMA-3) whose vocabulary holds the bytes and every word of the world as one token.
#include <string>
#include <vector>

namespace dorabench {

struct WordTokenizer {
    enum class Family { llama3, bart, llama2 } family = Family::llama3;
    std::vector<std::string> words;   // within a text, each with the space before it
    std::vector<std::string> openers; // at the beginning of a text or behind a sign, without one
};

// llama3: <|begin_of_text|> in front, ids behind the words. bart: <s> … </s>, and <s>, <pad>, </s> are 0,
// 1, 2. llama2: <s> in front; <unk>, <s>, </s> are 0, 1, 2.
std::string word_tokenizer_json(const WordTokenizer& tokenizer);
std::string word_tokenizer_config_json(const WordTokenizer& tokenizer); // bos_token, eos_token
// tokenizer.json and tokenizer_config.json into the folder, which is created.
void write_word_tokenizer(const std::string& folder, const WordTokenizer& tokenizer);

} // namespace dorabench
