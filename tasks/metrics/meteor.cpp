#include "tasks/metrics/meteor.h"

#include "harness/base/error.h"
#include "harness/base/text.h"
#include "tasks/metrics/meteor_normalise.h"
#include "tasks/metrics/snowball_english.h"
#include "tasks/metrics/words.h"
#include <algorithm>
#include <cmath>

namespace dorabench {

namespace {

constexpr double kAlpha = 0.85, kBeta = 0.2, kGamma = 0.6, kDelta = 0.75;
constexpr std::array<double, 4> kModuleWeights = {1.0, 0.6, 0.8, 0.6};
constexpr size_t kLongestPhrase = 7; // of the paraphrase table

bool meet(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) { // both sorted
    for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
        if (a[i] == b[j]) return true;
        a[i] < b[j] ? ++i : ++j;
    }
    return false;
}

bool stands_at(const std::vector<std::string>& words, size_t at, const std::vector<std::string>& phrase) {
    return at + phrase.size() <= words.size() &&
           std::equal(phrase.begin(), phrase.end(), words.begin() + static_cast<std::ptrdiff_t>(at));
}

// Calls f(place and length of the phrase, place and length of the paraphrase) for every table entry whose
// phrase stands in `from` and whose paraphrase stands in `to`.
template <typename F>
void for_each_paraphrase(const ParaphraseTable& table, const std::vector<std::string>& from,
                         const std::vector<std::string>& to, F f) {
    for (size_t at = 0; at < from.size(); ++at) {
        std::string phrase;
        for (size_t length = 1; length <= kLongestPhrase && at + length <= from.size(); ++length) {
            phrase += (length > 1 ? " " : "") + from[at + length - 1];
            auto found = table.find(phrase);
            if (found == table.end()) continue;
            for (const std::string& paraphrase : found->second) {
                const auto words = split(paraphrase, ' ');
                for (size_t other = 0; other + words.size() <= to.size(); ++other)
                    if (stands_at(to, other, words)) f(at, length, other, words.size());
            }
        }
    }
}

} // namespace

void MeteorStatistics::add(const MeteorStatistics& other, double times) {
    for (size_t side = 0; side < 2; ++side) {
        length[side] += times * other.length[side];
        function_words[side] += times * other.function_words[side];
        matched[side] += times * other.matched[side];
        for (size_t module = 0; module < 4; ++module) {
            content[side][module] += times * other.content[side][module];
            function[side][module] += times * other.function[side][module];
        }
    }
    bool whole = other.chunks == 1 && other.matched == other.length;
    if (!whole) chunks += times * other.chunks;
}

double meteor_score(const MeteorStatistics& statistics) {
    std::array<double, 2> share{}; // precision, recall
    for (size_t side = 0; side < 2; ++side) {
        double weighted = 0;
        for (size_t module = 0; module < 4; ++module)
            weighted += kModuleWeights[module] * (kDelta * statistics.content[side][module] +
                                                  (1 - kDelta) * statistics.function[side][module]);
        double content = statistics.length[side] - statistics.function_words[side];
        share[side] = weighted / (kDelta * content + (1 - kDelta) * statistics.function_words[side]);
    }
    double f_mean = 1 / ((1 - kAlpha) / share[0] + kAlpha / share[1]);
    double fragmentation = statistics.chunks / ((statistics.matched[0] + statistics.matched[1]) / 2);
    if (statistics.matched == statistics.length && statistics.chunks == 1) fragmentation = 0;
    double score = f_mean * (1 - kGamma * std::pow(fragmentation, kBeta));
    return std::isnan(score) ? 0 : score;
}

Meteor::Meteor(const MeteorData& data, int modules) : data_(data), modules_(modules) {
    if (modules < 1 || modules > 4) throw Error::internal("[meteor] 1 to 4 modules expected, got ", modules);
    if (modules == 4 && data.paraphrase_file.empty())
        throw Error::data(data.source,
                          ": METEOR's paraphrase table (paraphrase-en.gz) expected, it is not there");
}

void Meteor::prepare(const std::vector<std::string>& texts) {
    if (modules_ < 4) return;
    std::unordered_set<std::string> vocabulary;
    for (const std::string& text : texts)
        for (std::string& word : meteor_words(text, data_.prefixes)) vocabulary.insert(std::move(word));
    paraphrases_ = load_paraphrases(data_.paraphrase_file, vocabulary);
}

const Meteor::Word& Meteor::word(const std::string& text) {
    auto found = known_.find(text);
    if (found != known_.end()) return found->second;
    return known_[text] = {snowball_english(text), data_.meanings(text),
                           data_.function_words.count(text) > 0};
}

void Meteor::add_paraphrases(const Words& candidate, const Words& reference,
                             std::vector<MeteorMatch>& out) const {
    auto add = [&](size_t r, size_t r_length, size_t c, size_t c_length) {
        out.push_back({r, r_length, c, c_length, MeteorModule::paraphrase});
    };
    for_each_paraphrase(paraphrases_, reference, candidate, add);
    for_each_paraphrase(
        paraphrases_, candidate, reference,
        [&](size_t c, size_t c_length, size_t r, size_t r_length) { add(r, r_length, c, c_length); });
}

std::vector<MeteorMatch> Meteor::matches(const Words& candidate, const Words& reference) {
    std::vector<MeteorMatch> out;
    auto scan = [&](MeteorModule module, auto&& matching) {
        for (size_t c = 0; c < candidate.size(); ++c)
            for (size_t r = 0; r < reference.size(); ++r)
                if (matching(candidate[c], reference[r])) out.push_back({r, 1, c, 1, module});
    };
    scan(MeteorModule::exact, [](const std::string& a, const std::string& b) { return a == b; });
    if (modules_ >= 2 && candidate != reference) {
        scan(MeteorModule::stem, [&](const std::string& a, const std::string& b) {
            return a != b && word(a).stem == word(b).stem;
        });
        if (modules_ >= 3)
            scan(MeteorModule::synonym, [&](const std::string& a, const std::string& b) {
                return a != b && meet(word(a).meanings, word(b).meanings);
            });
        if (modules_ >= 4) add_paraphrases(candidate, reference, out);
    }
    return out;
}

MeteorStatistics Meteor::pair_statistics(const Words& candidate, const Words& reference) {
    const MeteorAlignment alignment =
        align_meteor(candidate.size(), reference.size(), matches(candidate, reference));
    MeteorStatistics out;
    out.chunks = alignment.chunks;
    const std::array<const Words*, 2> sides = {&candidate, &reference};
    for (size_t side = 0; side < 2; ++side) {
        out.length[side] = static_cast<double>(sides[side]->size());
        for (const std::string& text : *sides[side]) out.function_words[side] += word(text).is_function;
        for (const MeteorMatch& match : alignment.matches) {
            size_t from = side == 0 ? match.candidate : match.reference;
            size_t length = side == 0 ? match.candidate_length : match.reference_length;
            auto module = static_cast<size_t>(match.module);
            for (size_t i = from; i < from + length; ++i)
                ++(word((*sides[side])[i]).is_function ? out.function : out.content)[side][module];
            out.matched[side] += static_cast<double>(length);
        }
    }
    return out;
}

MeteorStatistics Meteor::statistics(const std::string& candidate,
                                    const std::vector<std::string>& references) {
    const Words words = meteor_words(candidate, data_.prefixes);
    MeteorStatistics best;
    double best_score = -1;
    for (const std::string& reference : references) {
        MeteorStatistics here = pair_statistics(words, meteor_words(reference, data_.prefixes));
        double score = meteor_score(here);
        if (score > best_score) {
            best = here;
            best_score = score;
        }
    }
    return best;
}

} // namespace dorabench
