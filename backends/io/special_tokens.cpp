#include "backends/io/special_tokens.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include <algorithm>

namespace dorabench {

Json read_json_file(const std::string& path) {
    std::string text = read_file(path, size_t(1) << 30);
    try {
        return Json::parse(text);
    } catch (const Json::parse_error& e) {
        throw Error::data(path, ": expected JSON, it goes wrong at byte ", e.byte);
    }
}

AddedToken parse_added_token(const Json& node, const JsonPlace& place) {
    AddedToken token;
    token.content = place.text(node, "content");
    if (const Json* id = place.optional(node, "id")) token.id = place.id(*id, "id");
    token.single_word = place.flag(node, "single_word", false);
    token.lstrip = place.flag(node, "lstrip", false);
    token.rstrip = place.flag(node, "rstrip", false);
    token.special = place.flag(node, "special", false);
    token.normalized = place.flag(node, "normalized", !token.special);
    return token;
}

namespace {

// "</s>" or {"content": "</s>", …}; none: ""
std::string token_text(const Json& node, const char* key, const JsonPlace& place) {
    const Json* value = place.optional(node, key);
    if (!value) return "";
    return value->is_object() ? place.in(key).text(*value, "content") : place.text(node, key);
}

void read_roles(const Json& node, const JsonPlace& place, SpecialTokens& out) {
    for (auto [key, role] :
         {std::pair{"bos_token", &out.bos}, {"eos_token", &out.eos}, {"pad_token", &out.pad}})
        if (!role->stated && node.is_object() && node.contains(key)) {
            role->token = token_text(node, key, place);
            role->stated = true;
        }
}

// A special token given as an object says how it is found in the text; BART's <mask> may take the space
// before it.
void read_described(const Json& node, const JsonPlace& place, SpecialTokens& out) {
    for (const char* key :
         {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"})
        if (const Json* value = place.optional(node, key); value && value->is_object()) {
            out.added.push_back(parse_added_token(*value, place.in(key)));
            out.added.back().special = true;
        }
}

void read_extra(const Json& node, const char* key, const JsonPlace& place, SpecialTokens& out) {
    const Json* list = place.optional(node, key);
    if (!list || !(list->is_array() || list->is_object())) return;
    for (const Json& item : *list) {
        AddedToken token;
        if (item.is_string())
            token.content = item.get<std::string>();
        else
            token = parse_added_token(item, place.in(key));
        token.special = true;
        token.normalized = false;
        out.added.push_back(token);
    }
}

void read_tokenizer_config(const std::string& path, SpecialTokens& out) {
    JsonPlace place(path);
    Json node = read_json_file(path);
    read_roles(node, place, out);
    if (const Json* decoder = place.optional(node, "added_tokens_decoder")) {
        JsonPlace at = place.in("added_tokens_decoder");
        if (!decoder->is_object()) throw at.fail("expected an object of tokens by id");
        for (const auto& [id, item] : decoder->items()) {
            AddedToken token = parse_added_token(item, at);
            if (id.empty() || id.size() > 9 || id.find_first_not_of("0123456789") != std::string::npos)
                throw at.fail("expected token ids as keys, got ", Json(id).dump());
            token.id = std::stoll(id);
            out.added.push_back(token);
        }
        std::sort(out.added.begin(), out.added.end(),
                  [](const auto& a, const auto& b) { return a.id < b.id; });
    }
    read_described(node, place, out);
    read_extra(node, "additional_special_tokens", place, out);
    read_extra(node, "extra_special_tokens", place, out);
    if (place.optional(node, "add_bos_token")) out.add_bos = place.flag(node, "add_bos_token", false);
    if (place.optional(node, "add_eos_token")) out.add_eos = place.flag(node, "add_eos_token", false);
    if (place.optional(node, "add_prefix_space"))
        out.add_prefix_space = place.flag(node, "add_prefix_space", false);
    out.tokenizer_class = place.text_or(node, "tokenizer_class", "");
}

void read_added_tokens(const std::string& path, SpecialTokens& out) { // {"<image>": 32000}
    JsonPlace place(path);
    Json node = read_json_file(path);
    if (!node.is_object()) throw place.fail("expected an object of ids by token");
    std::vector<AddedToken> tokens;
    for (const auto& [content, id] : node.items()) {
        AddedToken token;
        token.content = content;
        token.id = place.id(id, Json(content).dump());
        tokens.push_back(token);
    }
    std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    out.added.insert(out.added.end(), tokens.begin(), tokens.end());
}

void read_model_config(const std::string& path, SpecialTokens& out) {
    JsonPlace place(path);
    Json node = read_json_file(path);
    for (const Json* part : {static_cast<const Json*>(&node), place.optional(node, "text_config")}) {
        if (!part || !part->is_object()) continue;
        for (auto [key, role] :
             {std::pair{"bos_token_id", &out.bos}, {"eos_token_id", &out.eos}, {"pad_token_id", &out.pad}}) {
            auto at = part->find(key);
            if (role->stated || at == part->end()) continue;
            const Json& value =
                at->is_array() && !at->empty() ? at->front() : *at; // several end tokens: the first
            if (!value.is_number_unsigned()) continue;              // null or -1: none
            role->id = place.id(value, key);
            role->stated = true;
        }
    }
}

} // namespace

SpecialTokens read_special_tokens(const std::string& folder) {
    SpecialTokens out;
    auto file = [&](const char* name) { return (folder.empty() ? "." : folder) + "/" + name; };
    if (exists(file("tokenizer_config.json"))) read_tokenizer_config(file("tokenizer_config.json"), out);
    if (exists(file("special_tokens_map.json"))) {
        Json node = read_json_file(file("special_tokens_map.json"));
        JsonPlace place(file("special_tokens_map.json"));
        read_roles(node, place, out);
        read_described(node, place, out);
        read_extra(node, "additional_special_tokens", place, out);
    }
    if (exists(file("added_tokens.json"))) read_added_tokens(file("added_tokens.json"), out);
    if (exists(file("config.json"))) read_model_config(file("config.json"), out);
    // with its id an entry says more than without: those first, so that they win over the same token named
    // twice
    std::stable_sort(out.added.begin(), out.added.end(),
                     [](const auto& a, const auto& b) { return (a.id >= 0) > (b.id >= 0); });
    return out;
}

SpecialIds special_ids(const SpecialTokens& special, const std::function<int64_t(std::string_view)>& id_of) {
    auto one = [&](const SpecialTokens::Role& role, std::initializer_list<const char*> usual) -> int64_t {
        if (role.stated) return role.token.empty() ? role.id : id_of(role.token);
        for (const char* name : usual)
            if (int64_t id = id_of(name); id >= 0) return id;
        return -1;
    };
    return {one(special.bos, {"<s>", "<|begin_of_text|>", "<|startoftext|>"}),
            one(special.eos, {"</s>", "<|end_of_text|>", "<|endoftext|>"}), one(special.pad, {"<pad>"})};
}

} // namespace dorabench
