#include "backends/io/bpe.h"
#include "backends/io/utf8.h"
#include <algorithm>
#include <mutex>
#include <optional>
#include <queue>

namespace dorabench {
namespace {

constexpr size_t kCachedWords = 1 << 16, kCachedLength = 64;

std::string byte_name(int byte) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">";
}

// "a b" or ["a", "b"]; anything else: none
std::optional<std::pair<std::string, std::string>> merge_pair(const Json& node) {
    if (node.is_array() && node.size() == 2 && node[0].is_string() && node[1].is_string())
        return std::pair(node[0].get<std::string>(), node[1].get<std::string>());
    if (!node.is_string()) return {};
    const auto& text = node.get_ref<const std::string&>();
    size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) return {};
    return std::pair(text.substr(0, space), text.substr(space + 1));
}

size_t skip_characters(std::string_view text, size_t count) {
    size_t at = 0;
    for (; count > 0 && at < text.size(); --count) at += std::min(utf8_length(text[at]), text.size() - at);
    return count > 0 ? std::string_view::npos : at;
}

} // namespace

Bpe::Bpe(const Json& model, const JsonPlace& place) {
    std::string type =
        place.text_or(model, "type", model.is_object() && model.contains("merges") ? "BPE" : "");
    if (type != "BPE") throw place.fail("expected the model type BPE, \"", type, "\" is not supported");
    if (const Json* dropout = place.optional(model, "dropout"); dropout && *dropout != 0)
        throw place.fail("dropout: expected null (random tokenization is not supported), got a value");
    prefix_ = place.text_or(model, "continuing_subword_prefix", "");
    suffix_ = place.text_or(model, "end_of_word_suffix", "");
    fuse_unknown_ = place.flag(model, "fuse_unk", false);
    byte_fallback_ = place.flag(model, "byte_fallback", false);
    ignore_merges_ = place.flag(model, "ignore_merges", false);
    read_vocabulary(model, place);
    read_merges(model, place);
    if (std::string unknown = place.text_or(model, "unk_token", ""); !unknown.empty()) {
        unknown_ = id(unknown);
        if (unknown_ < 0) throw place.fail("unk_token: \"", unknown, "\" is not in the vocabulary");
    }
    for (int b = 0; b < 256; ++b) bytes_[b] = id(byte_name(b));
}

void Bpe::read_vocabulary(const Json& model, const JsonPlace& place) {
    const Json& vocabulary = place.member(model, "vocab");
    if (!vocabulary.is_object())
        throw place.fail("vocab: expected an object of ids, got ", vocabulary.type_name());
    vocabulary_.reserve(vocabulary.size());
    tokens_.reserve(vocabulary.size());
    for (const auto& [token, value] : vocabulary.items()) {
        int64_t id = place.id(value, "vocab: " + Json(token).dump());
        auto at = vocabulary_.emplace(token, id).first;
        if (auto [other, fresh] = tokens_.emplace(id, &at->first); !fresh)
            throw place.fail("vocab: expected every id once, ", id, " belongs to ",
                             Json(*other->second).dump(), " and ", Json(token).dump());
        id_limit_ = std::max(id_limit_, id + 1);
    }
}

void Bpe::read_merges(const Json& model, const JsonPlace& place) {
    const Json& merges = place.array(model, "merges");
    size_t skipped = 0; // characters of the prefix
    for (size_t at = 0; at < prefix_.size(); at += utf8_length(prefix_[at])) ++skipped;
    merges_.reserve(merges.size());
    uint32_t rank = 0;
    for (const Json& node : merges) {
        auto in = [&] { return place.in("merges[" + std::to_string(rank) + "]"); };
        if (node.is_string() && node.get_ref<const std::string&>().rfind("#version", 0) == 0) continue;
        auto tokens = merge_pair(node);
        if (!tokens) throw in().fail("expected a merge as \"left right\" or [\"left\", \"right\"]");
        const auto& [left, right] = *tokens;
        size_t cut = skip_characters(right, skipped);
        if (cut == std::string_view::npos)
            throw in().fail("the right token is shorter than continuing_subword_prefix");
        int64_t ids[3] = {id(left), id(right), id(left + right.substr(cut))};
        for (int i = 0; i < 3; ++i)
            if (ids[i] < 0)
                throw in().fail("the vocabulary lacks ",
                                Json(i == 0   ? left
                                     : i == 1 ? right
                                              : left + right.substr(cut))
                                    .dump(),
                                ", which this merge needs");
        merges_[pair(uint32_t(ids[0]), uint32_t(ids[1]))] = {rank++, uint32_t(ids[2])};
    }
}

int64_t Bpe::id(std::string_view token) const {
    auto at = vocabulary_.find(token);
    return at == vocabulary_.end() ? -1 : at->second;
}

const std::string* Bpe::token(int64_t id) const {
    auto at = tokens_.find(id);
    return at == tokens_.end() ? nullptr : at->second;
}

std::vector<Bpe::Symbol> Bpe::symbols(std::string_view word) const {
    if (word.size() >= size_t(1) << 30) throw Error::data("a word of 1 GiB or more cannot be tokenized");
    std::vector<Symbol> out;
    out.reserve(word.size());
    auto add = [&](int64_t id) {
        out.push_back({uint32_t(id), int32_t(out.size()) - 1, int32_t(out.size()) + 1, false});
    };
    bool pending = false; // an unknown character that may yet be fused with more
    std::string decorated;
    for (size_t at = 0; at < word.size();) {
        size_t length = utf8_length(word[at]);
        std::string_view s = word.substr(at, length);
        bool first = at == 0;
        at += length;
        bool last = at >= word.size();
        if ((!first && !prefix_.empty()) || (last && !suffix_.empty())) {
            decorated.assign(first ? "" : prefix_).append(s);
            if (last) decorated += suffix_;
            s = decorated;
        }
        if (int64_t known = id(s); known >= 0) {
            if (std::exchange(pending, false)) add(unknown_);
            add(known);
            continue;
        }
        // as the original, bytes do not flush a pending unknown: it comes after them
        if (byte_fallback_ &&
            std::all_of(s.begin(), s.end(), [&](char c) { return bytes_[(unsigned char)c] >= 0; })) {
            for (char c : s) add(bytes_[(unsigned char)c]);
            continue;
        }
        if (unknown_ < 0) continue;
        if (pending && !fuse_unknown_) add(unknown_);
        pending = true;
    }
    if (pending) add(unknown_);
    if (!out.empty()) out.back().next = -1;
    return out;
}

void Bpe::merge(std::vector<Symbol>& symbols) const {
    struct Candidate {
        uint32_t rank;
        int32_t at;
        uint32_t id;
        bool operator>(const Candidate& other) const {
            return rank != other.rank ? rank > other.rank : at > other.at;
        }
    };
    std::vector<Candidate> heap;
    auto candidate = [&](int32_t left) -> const Merge* {
        auto found =
            merges_.find(pair(symbols[size_t(left)].id, symbols[size_t(symbols[size_t(left)].next)].id));
        return found == merges_.end() ? nullptr : &found->second;
    };
    for (int32_t i = 0; i + 1 < int32_t(symbols.size()); ++i)
        if (const Merge* m = candidate(i)) heap.push_back({m->rank, i, m->id});
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>(),
                                                                                 std::move(heap));
    while (!queue.empty()) {
        Candidate top = queue.top();
        queue.pop();
        Symbol& left = symbols[size_t(top.at)];
        if (left.gone || left.next < 0) continue;
        const Merge* now = candidate(top.at); // the neighbours may have changed since
        if (!now || now->id != top.id) continue;
        Symbol& right = symbols[size_t(left.next)];
        left.id = top.id;
        left.next = right.next;
        right.gone = true;
        if (left.next >= 0) symbols[size_t(left.next)].previous = top.at;
        if (left.previous >= 0)
            if (const Merge* m = candidate(left.previous)) queue.push({m->rank, left.previous, m->id});
        if (left.next >= 0)
            if (const Merge* m = candidate(top.at)) queue.push({m->rank, top.at, m->id});
    }
}

void Bpe::encode(std::string_view word, std::vector<int64_t>& out) const {
    if (word.empty()) return;
    if (ignore_merges_)
        if (int64_t whole = id(word); whole >= 0) {
            out.push_back(whole);
            return;
        }
    bool cached = word.size() <= kCachedLength;
    if (cached) {
        std::shared_lock lock(cache_->mutex);
        if (auto at = cache_->words.find(word); at != cache_->words.end()) {
            out.insert(out.end(), at->second.begin(), at->second.end());
            return;
        }
    }
    std::vector<Symbol> parts = symbols(word);
    merge(parts);
    size_t begin = out.size();
    for (const Symbol& s : parts)
        if (!s.gone) out.push_back(s.id);
    if (cached) {
        std::unique_lock lock(cache_->mutex);
        if (cache_->words.size() >= kCachedWords) cache_->words.clear();
        cache_->words.emplace(std::string(word),
                              std::vector<int64_t>(out.begin() + int64_t(begin), out.end()));
    }
}

} // namespace dorabench
