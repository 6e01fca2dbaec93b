#include "backends/io/decoder.h"
#include "backends/io/pre_tokenizer.h"
#include "backends/io/regex.h"
#include "backends/io/utf8.h"
#include "harness/base/text.h"

namespace dorabench {
namespace {

std::string join_all(const std::vector<std::string>& tokens) { return join(tokens, ""); }

void byte_level(std::vector<std::string>& tokens) {
    std::string bytes, of_token;
    for (const auto& token : tokens) {
        of_token.clear();
        bool all = true; // a token with any other character stands for itself
        for (size_t at = 0; all && at < token.size();) {
            int byte = byte_of_character(next_code_point(token, at));
            all = byte >= 0;
            if (all) of_token += char(byte);
        }
        bytes += all ? of_token : token;
    }
    tokens = {repair_utf8(bytes)};
}

int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// "<0xE4>" to bytes; where a run of them is not UTF-8, every byte becomes U+FFFD.
void byte_fallback(std::vector<std::string>& tokens) {
    std::vector<std::string> out;
    std::string bytes;
    auto flush = [&] {
        if (bytes.empty()) return;
        if (invalid_utf8(bytes) == std::string::npos)
            out.push_back(bytes);
        else
            out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
        bytes.clear();
    };
    for (auto& token : tokens) {
        if (token.size() == 6 && token.rfind("<0x", 0) == 0 && token[5] == '>' && hex_digit(token[3]) >= 0 &&
            hex_digit(token[4]) >= 0) {
            bytes += char(hex_digit(token[3]) << 4 | hex_digit(token[4]));
            continue;
        }
        flush();
        out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
}

Decoder metaspace(const Json& node, const JsonPlace& place) {
    std::string mark = place.text(node, "replacement");
    std::string scheme = place.text_or(node, "prepend_scheme",
                                       place.flag(node, "add_prefix_space", true) ? "always" : "never");
    if (mark.empty()) throw place.fail("replacement: expected a character, got none");
    return [mark, drop = scheme != "never"](std::vector<std::string>& tokens) {
        for (size_t i = 0; i < tokens.size(); ++i)
            tokens[i] = replace_all(tokens[i], mark, i == 0 && drop ? "" : " ");
    };
}

// Takes at most `start` and `stop` times the character off both ends of every token.
Decoder strip(const Json& node, const JsonPlace& place) {
    std::string content = place.text(node, "content");
    size_t start = place.count(node, "start"), stop = place.count(node, "stop");
    if (content.empty()) throw place.fail("content: expected a character, got none");
    return [content, start, stop](std::vector<std::string>& tokens) {
        for (auto& token : tokens) {
            size_t begin = 0, end = token.size(), n = content.size();
            for (size_t i = 0; i < start && token.compare(begin, n, content) == 0; ++i) begin += n;
            for (size_t i = 0; i < stop && end >= begin + n && token.compare(end - n, n, content) == 0; ++i)
                end -= n;
            token = token.substr(begin, end - begin);
        }
    };
}

Decoder sequence(const Json& node, const JsonPlace& place) {
    std::vector<Decoder> parts;
    for (const Json& part : place.array(node, "decoders"))
        parts.push_back(parse_decoder(part, place.in("decoders[" + std::to_string(parts.size()) + "]")));
    return [parts](std::vector<std::string>& tokens) {
        for (const auto& part : parts) part(tokens);
    };
}

} // namespace

Decoder parse_decoder(const Json& node, const JsonPlace& place) {
    if (node.is_null()) return [](std::vector<std::string>& tokens) { tokens = {join(tokens, " ")}; };
    std::string type = place.text(node, "type");
    if (type == "ByteLevel") return byte_level;
    if (type == "ByteFallback") return byte_fallback;
    if (type == "Fuse") return [](std::vector<std::string>& tokens) { tokens = {join_all(tokens)}; };
    if (type == "Metaspace") return metaspace(node, place);
    if (type == "Strip") return strip(node, place);
    if (type == "Replace")
        return [pattern = Pattern::parse(place.member(node, "pattern"), place.in("pattern")),
                content = place.text(node, "content")](std::vector<std::string>& tokens) {
            for (auto& token : tokens) token = pattern.replace(token, content);
        };
    if (type == "BPEDecoder")
        return [suffix = place.text(node, "suffix")](std::vector<std::string>& tokens) {
            for (size_t i = 0; i < tokens.size() && !suffix.empty(); ++i)
                tokens[i] = replace_all(tokens[i], suffix, i + 1 == tokens.size() ? "" : " ");
        };
    if (type == "Sequence") return sequence(node, place);
    throw place.fail("expected a decoder ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace, "
                     "BPEDecoder or Sequence; \"",
                     type, "\" is not supported");
}

namespace {

int64_t named_id(const Json& node, const char* key, const JsonPlace& place) { // ["</s>", 2]
    const Json& pair = place.array(node, key);
    if (pair.size() != 2 || !pair[0].is_string()) throw place.fail(key, ": expected [token, id]");
    return place.id(pair[1], key);
}

PostProcessor around(std::vector<int64_t> before, std::vector<int64_t> after) {
    return [before = std::move(before), after = std::move(after)](std::vector<int64_t> ids) {
        ids.insert(ids.begin(), before.begin(), before.end());
        ids.insert(ids.end(), after.begin(), after.end());
        return ids;
    };
}

PostProcessor template_processing(const Json& node, const JsonPlace& place) {
    const Json& known = place.member(node, "special_tokens");
    std::vector<int64_t> before, after;
    size_t texts = 0;
    for (const Json& part : place.array(node, "single")) {
        JsonPlace at = place.in("single");
        if (part.is_object() && part.contains("Sequence")) {
            if (at.text(part["Sequence"], "id") != "A" || ++texts > 1)
                throw at.fail("expected the text A, once");
            continue;
        }
        std::string name = at.text(at.member(part, "SpecialToken"), "id");
        JsonPlace token = place.in("special_tokens").in(name);
        for (const Json& id : token.array(place.member(known, name.c_str()), "ids"))
            (texts == 0 ? before : after).push_back(token.id(id, "ids"));
    }
    if (texts != 1) throw place.fail("single: expected the text A, once");
    return around(std::move(before), std::move(after));
}

} // namespace

PostProcessor parse_post_processor(const Json& node, const JsonPlace& place) {
    if (node.is_null()) return around({}, {});
    std::string type = place.text(node, "type");
    if (type == "ByteLevel") return around({}, {}); // it moves offsets alone
    if (type == "TemplateProcessing") return template_processing(node, place);
    if (type == "RobertaProcessing" || type == "BertProcessing")
        return around({named_id(node, "cls", place)}, {named_id(node, "sep", place)});
    if (type == "Sequence") {
        std::vector<PostProcessor> parts;
        for (const Json& part : place.array(node, "processors"))
            parts.push_back(
                parse_post_processor(part, place.in("processors[" + std::to_string(parts.size()) + "]")));
        return [parts](std::vector<int64_t> ids) {
            for (const auto& part : parts) ids = part(std::move(ids));
            return ids;
        };
    }
    throw place.fail("expected a post-processor TemplateProcessing, RobertaProcessing, BertProcessing, "
                     "ByteLevel or Sequence; \"",
                     type, "\" is not supported");
}

} // namespace dorabench
