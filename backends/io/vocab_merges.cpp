#include "backends/io/hf_tokenizer.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"

namespace dorabench {
namespace {

Json byte_level(bool prefix_space, bool use_regex = true) {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", prefix_space},
            {"trim_offsets", true},
            {"use_regex", use_regex}};
}
Json split(const char* expression, const char* behavior, bool invert) {
    return {
        {"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", behavior}, {"invert", invert}};
}
Json special(const char* content) { return {{"content", content}, {"special", true}, {"normalized", false}}; }

Json read_merges(const std::string& path) {
    Json merges = Json::array();
    for_each_line(path, [&](size_t number, std::string_view line) {
        if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
        if (line.empty() || line.rfind("#version", 0) == 0) return;
        size_t space = line.find(' ');
        if (space == 0 || space == std::string_view::npos || space + 1 == line.size() ||
            line.find(' ', space + 1) != std::string_view::npos)
            throw Error::data(path, ":", number, ": expected two tokens with a space between them");
        if (invalid_utf8(line) != std::string::npos) throw Error::data(path, ":", number, ": expected UTF-8");
        merges.push_back(std::string(line));
    });
    return merges;
}

enum class Style { gpt2, roberta, clip, qwen2 };

Style style_of(const Json& vocabulary, const SpecialTokens& special) {
    auto named = [&](const char* part) { return special.tokenizer_class.find(part) != std::string::npos; };
    if (named("CLIP")) return Style::clip;
    if (named("Qwen2")) return Style::qwen2;
    if (named("Roberta") || named("Bart")) return Style::roberta;
    if (named("GPT2")) return Style::gpt2;
    if (vocabulary.contains("<|startoftext|>") && vocabulary.contains("a</w>")) return Style::clip;
    return vocabulary.contains("<s>") && vocabulary.contains("</s>") ? Style::roberta : Style::gpt2;
}

Json around(const Json& vocabulary, const char* begin, const char* end, const JsonPlace& place) {
    return {{"type", "RobertaProcessing"},
            {"cls", Json::array({begin, place.member(vocabulary, begin)})},
            {"sep", Json::array({end, place.member(vocabulary, end)})}};
}

void make_clip(Json& out, const Json& vocabulary, const JsonPlace& place) {
    out["normalizer"] = {
        {"type", "Sequence"},
        {"normalizers",
         Json::array({{{"type", "NFC"}},
                      {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}},
                      {{"type", "Lowercase"}}})}};
    out["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         Json::array(
             {split(
                  R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)",
                  "Removed", true),
              byte_level(false)})}};
    out["post_processor"] = around(vocabulary, "<|startoftext|>", "<|endoftext|>", place);
    out["model"]["end_of_word_suffix"] = "</w>";
    out["model"]["unk_token"] = "<|endoftext|>";
    out["added_tokens"] = Json::array({special("<|startoftext|>"), special("<|endoftext|>")});
}

void make_roberta(Json& out, const Json& vocabulary, const JsonPlace& place) {
    out["post_processor"] = around(vocabulary, "<s>", "</s>", place);
    for (const char* token : {"<s>", "<pad>", "</s>", "<unk>", "<mask>"})
        if (vocabulary.contains(token)) out["added_tokens"].push_back(special(token));
}

void make_qwen2(Json& out) {
    out["normalizer"] = {{"type", "NFC"}};
    out["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         Json::array(
             {split(
                  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
                  "Isolated", false),
              byte_level(false, false)})}};
}

} // namespace

Json tokenizer_of_vocabulary(const std::string& vocabulary_file, const std::string& merges_file,
                             const SpecialTokens& tokens) {
    JsonPlace place(vocabulary_file);
    Json vocabulary = read_json_file(vocabulary_file);
    if (!vocabulary.is_object()) throw place.fail("expected an object of ids by token");
    Json out = {{"added_tokens", Json::array()}, {"decoder", byte_level(true)}};
    out["pre_tokenizer"] = byte_level(tokens.add_prefix_space.value_or(false));
    out["model"] = {{"type", "BPE"}, {"merges", read_merges(merges_file)}};
    switch (style_of(vocabulary, tokens)) {
    case Style::clip:
        make_clip(out, vocabulary, place);
        break;
    case Style::roberta:
        make_roberta(out, vocabulary, place);
        break;
    case Style::qwen2:
        make_qwen2(out);
        [[fallthrough]];
    case Style::gpt2:
        if (vocabulary.contains("<|endoftext|>")) out["added_tokens"].push_back(special("<|endoftext|>"));
        if (tokens.add_bos.value_or(false) && vocabulary.contains(tokens.bos.token))
            out["post_processor"] = {
                {"type", "TemplateProcessing"},
                {"single", Json::array({{{"SpecialToken", {{"id", tokens.bos.token}}}},
                                        {{"Sequence", {{"id", "A"}}}}})},
                {"special_tokens",
                 {{tokens.bos.token, {{"ids", Json::array({vocabulary[tokens.bos.token]})}}}}}};
        break;
    }
    out["model"]["vocab"] = std::move(vocabulary);
    return out;
}

} // namespace dorabench
