#include "harness/base/files.h"
#include "tasks/world.h"
#include "tasks/world_words.h"
#include <nlohmann/json.hpp>

namespace dorabench {

namespace {

const char* const kBegin = "<|begin_of_text|>";
const char* const kEnd = "<|end_of_text|>";

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

nlohmann::json added_token(const char* content, size_t id) {
    return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false}, {"special", true}};
}

} // namespace

std::string synthetic_tokenizer_json() {
    std::vector<std::string> bytes = byte_alphabet();
    nlohmann::json vocabulary = nlohmann::json::object();
    auto add = [&](const std::string& token) { vocabulary.emplace(token, vocabulary.size()); };
    for (const std::string& token : bytes) add(token);
    const std::string& space = bytes[' '];
    const WorldWords& words = world_words();
    for (const auto* list :
         {&words.names, &words.places, &words.trades, &words.things, &words.colours, &words.grammar})
        for (const std::string& word : *list) add(space + word);
    for (const std::string& word : words.openers) add(word);
    size_t begin = vocabulary.size(), end = begin + 1;
    nlohmann::json byte_level = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
    nlohmann::json split = {{"type", "Split"},
                            {"pattern",
                             {{"Regex", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,"
                                        "3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
                                        "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}},
                            {"behavior", "Isolated"},
                            {"invert", false}};
    nlohmann::json first = {{"SpecialToken", {{"id", kBegin}, {"type_id", 0}}}};
    nlohmann::json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    nlohmann::json second = {{"SpecialToken", {{"id", kBegin}, {"type_id", 1}}}};
    nlohmann::json text_b = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
    nlohmann::json special = {{kBegin, {{"id", kBegin}, {"ids", {begin}}, {"tokens", {kBegin}}}}};
    nlohmann::json processor = {{"type", "TemplateProcessing"},
                                {"single", {first, text}},
                                {"pair", {first, text, second, text_b}},
                                {"special_tokens", special}};
    nlohmann::json decoder = {
        {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
    nlohmann::json model = {{"type", "BPE"},
                            {"dropout", nullptr},
                            {"unk_token", nullptr},
                            {"continuing_subword_prefix", nullptr},
                            {"end_of_word_suffix", nullptr},
                            {"fuse_unk", false},
                            {"byte_fallback", false},
                            {"ignore_merges", true},
                            {"vocab", vocabulary},
                            {"merges", nlohmann::json::array()}};
    nlohmann::json out = {{"version", "1.0"},
                          {"truncation", nullptr},
                          {"padding", nullptr},
                          {"added_tokens", {added_token(kBegin, begin), added_token(kEnd, end)}},
                          {"normalizer", nullptr},
                          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
                          {"post_processor", processor},
                          {"decoder", decoder},
                          {"model", model}};
    return out.dump(2) + "\n";
}

std::string synthetic_tokenizer_config_json() {
    nlohmann::json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                          {"bos_token", kBegin},
                          {"eos_token", kEnd},
                          {"clean_up_tokenization_spaces", false},
                          {"model_max_length", 128}};
    return out.dump(2) + "\n";
}

void write_synthetic_tokenizer(const std::string& folder) {
    make_folder(folder);
    write_file_atomic(folder + "/tokenizer.json", synthetic_tokenizer_json());
    write_file_atomic(folder + "/tokenizer_config.json", synthetic_tokenizer_config_json());
}

} // namespace dorabench
