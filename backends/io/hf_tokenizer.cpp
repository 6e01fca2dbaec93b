#include "backends/io/hf_tokenizer.h"
#include "backends/io/utf8.h"
#include "harness/base/text.h"
#include <algorithm>

namespace dorabench {
namespace {

const Json& part(const Json& document, const char* key) {
    static const Json kNull;
    auto at = document.find(key);
    return at == document.end() ? kNull : *at;
}

// The tokens of the file, then those that only the files beside it name; ids settled.
std::vector<AddedToken> added_tokens(const Json& document, const JsonPlace& place,
                                     const SpecialTokens& special, const Bpe& model) {
    std::vector<AddedToken> out;
    if (place.optional(document, "added_tokens")) {
        size_t i = 0;
        for (const Json& node : place.array(document, "added_tokens"))
            out.push_back(parse_added_token(node, place.in("added_tokens[" + std::to_string(i++) + "]")));
    }
    TextMap<bool> seen;
    for (const auto& token : out) seen.emplace(token.content, true);
    for (const auto& token : special.added)
        if (seen.emplace(token.content, true).second) out.push_back(token);

    int64_t next = model.id_limit();
    for (const auto& token : out) next = std::max(next, token.id + 1);
    std::unordered_map<int64_t, const AddedToken*> owner;
    for (auto& token : out) {
        if (int64_t known = model.id(token.content); known >= 0)
            token.id = known; // the vocabulary's word is final
        else if (token.id < 0)
            token.id = next++;
        else if (const std::string* other = model.token(token.id))
            throw place.fail("added_tokens: id ", token.id, " of ", Json(token.content).dump(),
                             " belongs to ", Json(*other).dump());
        if (auto [at, fresh] = owner.emplace(token.id, &token);
            !fresh && at->second->content != token.content)
            throw place.fail("added_tokens: id ", token.id, " belongs to ", Json(at->second->content).dump(),
                             " and ", Json(token.content).dump());
    }
    return out;
}

} // namespace

HfTokenizer::HfTokenizer(const Json& document, const std::string& file, const SpecialTokens& special,
                         std::string fingerprint)
    : HfTokenizer(document, JsonPlace(file), special, std::move(fingerprint)) {}

HfTokenizer::HfTokenizer(const Json& document, const JsonPlace& place, const SpecialTokens& special,
                         std::string fingerprint)
    : model_(place.member(document, "model"), place.in("model")),
      normalizer_(parse_normalizer(part(document, "normalizer"), place.in("normalizer"))),
      added_(added_tokens(document, place, special, model_), normalizer_),
      pre_tokenizer_(parse_pre_tokenizer(part(document, "pre_tokenizer"), place.in("pre_tokenizer"))),
      post_processor_(parse_post_processor(part(document, "post_processor"), place.in("post_processor"))),
      decoder_(parse_decoder(part(document, "decoder"), place.in("decoder"))),
      fingerprint_(std::move(fingerprint)) {
    ids_ = special_ids(special, [this](std::string_view token) { return token_id(token); });
}

void HfTokenizer::encode_text(std::string text, bool at_start, std::vector<int64_t>& ids) const {
    normalizer_(text);
    for (const auto& part : added_.split(text, true)) {
        if (part.id >= 0) {
            ids.push_back(part.id);
            continue;
        }
        Pieces pieces(text.substr(part.begin, part.end - part.begin), at_start && part.begin == 0);
        pre_tokenizer_(pieces);
        for (const auto& range : pieces.ranges) model_.encode(pieces.word(range), ids);
    }
}

std::vector<int64_t> HfTokenizer::encode(std::string_view text, bool add_special) const {
    std::string repaired;
    if (invalid_utf8(text) != std::string::npos) text = repaired = repair_utf8(text);
    std::vector<int64_t> ids;
    for (const auto& part : added_.split(text, false)) {
        if (part.id >= 0)
            ids.push_back(part.id);
        else
            encode_text(std::string(text.substr(part.begin, part.end - part.begin)), part.begin == 0, ids);
    }
    return add_special ? post_processor_(std::move(ids)) : ids;
}

std::string HfTokenizer::decode(const std::vector<int64_t>& ids, bool skip_special) const {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (int64_t id : ids) {
        if (const AddedToken* token = added_.find(id)) {
            if (!(skip_special && token->special)) tokens.push_back(token->shown);
        } else if (const std::string* text = model_.token(id)) {
            tokens.push_back(*text);
        }
    }
    if (tokens.empty()) return "";
    decoder_(tokens);
    return join(tokens, "");
}

int64_t HfTokenizer::vocab_size() const { return std::max(model_.id_limit(), added_.id_limit()); }

int64_t HfTokenizer::token_id(std::string_view token) const {
    const AddedToken* added = added_.find(token);
    return added ? added->id : model_.id(token);
}

} // namespace dorabench
