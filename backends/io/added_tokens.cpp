#include "backends/io/added_tokens.h"
#include "backends/io/utf8.h"
#include <algorithm>

namespace dorabench {
namespace {

// Start of the last character before `at`.
size_t character_before(std::string_view text, size_t at) {
    do --at;
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80);
    return at;
}
bool word_before(std::string_view text, size_t at) {
    if (at == 0) return false;
    at = character_before(text, at);
    return is_word(next_code_point(text, at));
}
bool word_after(std::string_view text, size_t at) {
    return at < text.size() && is_word(next_code_point(text, at));
}

size_t skip_space_left(std::string_view text, size_t at, size_t limit) {
    while (at > limit) {
        size_t before = character_before(text, at), after = before;
        if (!is_white_space(next_code_point(text, after))) break;
        at = before;
    }
    return std::max(at, limit);
}
size_t skip_space_right(std::string_view text, size_t at) {
    while (at < text.size()) {
        size_t after = at;
        if (!is_white_space(next_code_point(text, after))) break;
        at = after;
    }
    return at;
}

} // namespace

void AddedTokens::Trie::add(std::string_view text, size_t token) {
    uint32_t node = 0;
    for (char c : text) {
        auto [at, fresh] = edges.emplace(uint64_t(node) << 8 | (unsigned char)c, nodes);
        if (fresh) ++nodes;
        node = at->second;
    }
    tokens.emplace(node, token);
    first[(unsigned char)text.front()] = true;
}

bool AddedTokens::Trie::match(std::string_view text, size_t at, size_t& token, size_t& end) const {
    if (!first[(unsigned char)text[at]]) return false;
    bool found = false;
    uint32_t node = 0;
    while (at < text.size()) {
        auto edge = edges.find(uint64_t(node) << 8 | (unsigned char)text[at]);
        if (edge == edges.end()) break;
        node = edge->second;
        ++at;
        if (auto here = tokens.find(node); here != tokens.end()) {
            token = here->second;
            end = at;
            found = true;
        }
    }
    return found;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer& normalizer) {
    for (auto& token : tokens) {
        if (token.content.empty() || by_content_.count(token.content)) continue;
        size_t index = tokens_.size();
        by_content_.emplace(token.content, index);
        by_id_.emplace(token.id, index);
        id_limit_ = std::max(id_limit_, token.id + 1);
        token.shown = token.content;
        if (token.normalized) normalizer(token.shown);
        if (!token.shown.empty()) (token.normalized ? normalized_ : raw_).add(token.shown, index);
        tokens_.push_back(std::move(token));
    }
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool normalized) const {
    const Trie& trie = normalized ? normalized_ : raw_;
    std::vector<Part> out;
    size_t done = 0;
    for (size_t at = 0; at < text.size();) {
        size_t index = 0, end = 0;
        if (!trie.match(text, at, index, end)) {
            ++at;
            continue;
        }
        const AddedToken& token = tokens_[index];
        size_t begin = at;
        at = end;
        if (token.single_word && (word_before(text, begin) || word_after(text, end))) continue;
        if (token.lstrip) begin = skip_space_left(text, begin, done);
        begin = std::max(begin, done);
        if (token.rstrip) end = skip_space_right(text, end);
        end = std::max(end, done);
        if (done < begin) out.push_back({done, begin, -1});
        out.push_back({begin, end, token.id});
        done = end;
    }
    if (done < text.size()) out.push_back({done, text.size(), -1});
    return out;
}

const AddedToken* AddedTokens::find(std::string_view content) const {
    auto at = by_content_.find(content);
    return at == by_content_.end() ? nullptr : &tokens_[at->second];
}

const AddedToken* AddedTokens::find(int64_t id) const {
    auto at = by_id_.find(id);
    return at == by_id_.end() ? nullptr : &tokens_[at->second];
}

} // namespace dorabench
