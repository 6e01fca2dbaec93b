#include "tasks/word_tokenizer.h"
#include "harness/base/files.h"
#include <nlohmann/json.hpp>

namespace dorabench {

namespace {

using nlohmann::json;

struct Specials {
    std::string begin, end, other;  // other: padding, or the unknown; empty where the family has none
    std::vector<std::string> first; // the family's first ids; empty: its special tokens come behind the words
};

Specials specials_of(const WordTokenizer& tokenizer) {
    switch (tokenizer.family) {
    case WordTokenizer::Family::bart:
        return {"<s>", "</s>", "<pad>", {"<s>", "<pad>", "</s>"}};
    case WordTokenizer::Family::llama2:
        return {"<s>", "</s>", "<unk>", {"<unk>", "<s>", "</s>"}};
    default:
        return {"<|begin_of_text|>", "<|end_of_text|>", "", {}};
    }
}

std::string utf8(int point) { // below U+0800
    if (point < 0x80) return std::string(1, static_cast<char>(point));
    return {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 0x3F))};
}

// GPT-2's alphabet: a printable character for every byte; bytes without one follow from U+0100 on.
std::vector<std::string> byte_alphabet() {
    std::vector<std::string> out(256);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
        bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        out[static_cast<size_t>(byte)] = utf8(printable ? byte : next++);
    }
    return out;
}

json added_token(const std::string& content, size_t id) {
    return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false}, {"special", true}};
}

json special_token(const std::string& content, size_t id) {
    return {{"id", content}, {"ids", {id}}, {"tokens", {content}}};
}

json place(const std::string& content, int type) {
    return {{"SpecialToken", {{"id", content}, {"type_id", type}}}};
}

// <begin> text, and <end> behind it for an encoder-decoder
json post_processor(const Specials& special, size_t begin, size_t end, bool framed) {
    const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    const json text_b = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
    json single = json::array({place(special.begin, 0), text});
    json pair = json::array({place(special.begin, 0), text, place(special.begin, 1), text_b});
    json tokens = {{special.begin, special_token(special.begin, begin)}};
    if (framed) {
        single.push_back(place(special.end, 0));
        pair = json::array({place(special.begin, 0), text, place(special.end, 0), place(special.end, 1),
                            text_b, place(special.end, 1)});
        tokens[special.end] = special_token(special.end, end);
    }
    return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

} // namespace

std::string word_tokenizer_json(const WordTokenizer& tokenizer) {
    const bool bart = tokenizer.family == WordTokenizer::Family::bart;
    const Specials special = specials_of(tokenizer);
    std::vector<std::string> bytes = byte_alphabet();
    json vocabulary = json::object();
    auto add = [&](const std::string& token) { vocabulary.emplace(token, vocabulary.size()); };
    for (const std::string& token : special.first) add(token);
    for (const std::string& token : bytes) add(token);
    const std::string& space = bytes[' '];
    for (const std::string& word : tokenizer.words) add(space + word);
    for (const std::string& word : tokenizer.openers) add(word);
    json added = json::array();
    size_t begin = vocabulary.size(), end = begin + 1;
    if (special.first.empty()) added = {added_token(special.begin, begin), added_token(special.end, end)};
    for (size_t id = 0; id < special.first.size(); ++id) {
        added.push_back(added_token(special.first[id], id));
        if (special.first[id] == special.begin) begin = id;
        if (special.first[id] == special.end) end = id;
    }
    const json byte_level = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
    const json split = {{"type", "Split"},
                        {"pattern",
                         {{"Regex", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,"
                                    "3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
                                    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    const json decoder = {
        {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
    const json model = {{"type", "BPE"},
                        {"dropout", nullptr},
                        {"unk_token", nullptr},
                        {"continuing_subword_prefix", nullptr},
                        {"end_of_word_suffix", nullptr},
                        {"fuse_unk", false},
                        {"byte_fallback", false},
                        {"ignore_merges", true},
                        {"vocab", vocabulary},
                        {"merges", json::array()}};
    const json out = {{"version", "1.0"},
                      {"truncation", nullptr},
                      {"padding", nullptr},
                      {"added_tokens", added},
                      {"normalizer", nullptr},
                      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
                      {"post_processor", post_processor(special, begin, end, bart)},
                      {"decoder", decoder},
                      {"model", model}};
    return out.dump(2) + "\n";
}

std::string word_tokenizer_config_json(const WordTokenizer& tokenizer) {
    const Specials special = specials_of(tokenizer);
    json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                {"bos_token", special.begin},
                {"eos_token", special.end},
                {"clean_up_tokenization_spaces", false},
                {"model_max_length", 128}};
    if (!special.other.empty())
        out[tokenizer.family == WordTokenizer::Family::bart ? "pad_token" : "unk_token"] = special.other;
    return out.dump(2) + "\n";
}

void write_word_tokenizer(const std::string& folder, const WordTokenizer& tokenizer) {
    make_folder(folder);
    write_file_atomic(folder + "/tokenizer.json", word_tokenizer_json(tokenizer));
    write_file_atomic(folder + "/tokenizer_config.json", word_tokenizer_config_json(tokenizer));
}

} // namespace dorabench
