#pragma once
// METEOR 1.5, English, task "rank" (Denkowski and Lavie 2014): exact, stem, synonym and, where its table is
// at hand, paraphrase matches; harmonic mean of weighted precision and recall with a penalty for
// fragmentation. Input is what the caption evaluation feeds it: Penn Treebank tokens joined by spaces.
#include "tasks/metrics/meteor_align.h"
#include "tasks/metrics/meteor_data.h"
#include <array>
#include <string>
#include <unordered_map>
#include <vector>

namespace dorabench {

// Sufficient statistics of one candidate against its best reference; the corpus score is a function of their
// sum. [2]: candidate, reference; [4]: modules in MeteorModule's order.
struct MeteorStatistics {
    std::array<double, 2> length{}, function_words{}, matched{};
    std::array<std::array<double, 4>, 2> content{}, function{}; // matched words by module
    double chunks = 0;
    void add(const MeteorStatistics& other,
             double times = 1); // a fully matched one-chunk segment adds no chunk
};

double meteor_score(const MeteorStatistics& statistics);

class Meteor {
public:
    // Borrows data. modules: the first so many of exact, stem, synonym, paraphrase.
    explicit Meteor(const MeteorData& data, int modules = 3);
    // Reads the paraphrase table for the words of these texts; needed before statistics() when modules is 4.
    void prepare(const std::vector<std::string>& texts);
    MeteorStatistics statistics(const std::string& candidate, const std::vector<std::string>& references);

private:
    struct Word { // what matching needs to know about a word
        std::string stem;
        std::vector<uint32_t> meanings;
        bool is_function = false;
    };
    using Words = std::vector<std::string>;
    const MeteorData& data_;
    int modules_;
    std::unordered_map<std::string, Word> known_;
    ParaphraseTable paraphrases_;

    const Word& word(const std::string& text);
    std::vector<MeteorMatch> matches(const Words& candidate, const Words& reference);
    void add_paraphrases(const Words& candidate, const Words& reference, std::vector<MeteorMatch>& out) const;
    MeteorStatistics pair_statistics(const Words& candidate, const Words& reference);
};

} // namespace dorabench
