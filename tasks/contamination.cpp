#include "tasks/contamination.h"
#include <algorithm>
#include <cctype>
#include <map>
#include <string_view>

namespace dorabench {
namespace {

constexpr size_t kRun = 13;

uint64_t hash_of(std::string_view word) { // FNV-1a
    uint64_t hash = 1469598103934665603ull;
    for (char c : word) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211ull;
    return hash;
}

std::vector<uint64_t> words_of(const std::string& text) {
    std::vector<uint64_t> words;
    std::string word;
    for (char c : text + " ") {
        if (std::isalnum(static_cast<unsigned char>(c)))
            word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        else if (!word.empty())
            words.push_back(hash_of(word)), word.clear();
    }
    return words;
}

uint64_t mix(uint64_t hash, uint64_t word) { return (hash ^ word) * 0x9E3779B97F4A7C15ull + (hash >> 29); }

uint64_t run_hash(const uint64_t* words, size_t n) {
    uint64_t hash = n;
    for (size_t i = 0; i < n; ++i) hash = mix(hash, words[i]);
    return hash;
}

// Words that all prompts of a task have in common at both ends belong to its template and say nothing.
std::pair<size_t, size_t> shared_ends(const std::vector<std::vector<uint64_t>>& texts) {
    if (texts.size() < 2) return {0, 0};
    size_t front = texts[0].size(), back = texts[0].size();
    for (const auto& text : texts) {
        size_t most = std::min(text.size(), texts[0].size()), f = 0, b = 0;
        while (f < most && text[f] == texts[0][f]) ++f;
        while (b < most && text[text.size() - 1 - b] == texts[0][texts[0].size() - 1 - b]) ++b;
        front = std::min(front, f);
        back = std::min(back, b);
    }
    return {front, back};
}

} // namespace

void ContaminationScan::add_training(const TrainingPair& pair) {
    std::vector<uint64_t> words = words_of(pair.prompt + " " + pair.target), prompt = words_of(pair.prompt);
    for (size_t i = 0; i + kRun <= words.size(); ++i) ngrams_.insert(run_hash(&words[i], kRun));
    if (!prompt.empty()) rows_.insert(run_hash(prompt.data(), prompt.size()));
}

Contamination ContaminationScan::scan(const std::vector<Example>& examples) const {
    Contamination out;
    std::vector<std::vector<uint64_t>> texts;
    for (const Example& example : examples) texts.push_back(words_of(example.prompt));
    auto [front, back] = shared_ends(texts);
    for (size_t i = 0; i < texts.size(); ++i) {
        const auto& words = texts[i];
        ++out.items;
        bool exact = !words.empty() && rows_.count(run_hash(words.data(), words.size()));
        bool overlap = exact;
        size_t end = words.size() - std::min(back, words.size());
        for (size_t at = front; !overlap && at + kRun <= end; ++at) overlap = ngrams_.count(run_hash(&words[at], kRun)) > 0;
        out.exact += exact;
        out.ngram13 += overlap;
        if (overlap && out.first.size() < 3) out.first.push_back(examples[i].id);
    }
    return out;
}

} // namespace dorabench
