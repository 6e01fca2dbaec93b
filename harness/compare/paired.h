#pragma once
// Two sets of answers to the same items: paired tests, intervals, effect size and what the items could have
// shown. Several seeds: runs are paired seed by seed, and an item (same id, same prompt) is averaged over the
// seeds first, so that its answers are not counted as independent; the spread between seeds is an interval of
// its own (Student's t). Sources: McNemar 1947 (exact binomial form), mid-p: Fagerland, Lydersen and Laake
// 2013; paired bootstrap: Efron; Holm 1979; Cohen 1988 (h); Connor 1987 (resolvable difference).
#include "harness/compare/samples.h"
#include "tasks/metrics/statistics.h"
#include <cmath>

namespace dorabench {

struct SamplePair { // one seed
    uint64_t seed = 0;
    SampleSet a, b;
};

struct PairedTask {
    std::string task;
    size_t seeds = 0;
    int64_t n = 0, items = 0;       // answers of all seeds; items after averaging over the seeds
    int64_t only_a = 0, only_b = 0; // answers without a partner
    int64_t other_prompt = 0;       // shared ids that were asked in other words
    int64_t unparsed_a = 0, unparsed_b = 0;
    bool binary = true; // 0/1 scores throughout
    bool exact = false; // p is McNemar's (0/1 scores, one seed), else the bootstrap's
    double mean_a = 0, mean_b = 0, difference = 0; // b - a
    double parsed_a = 0, parsed_b = 0;             // means among the parsed answers; NaN without any
    Interval interval;                             // 95 %, paired bootstrap over the items
    Interval seed_interval; // 95 %, Student's t over the seeds' differences; two seeds or more
    McNemar mcnemar;        // b: only A right, c: only B right; one seed
    double bootstrap_p = 1, p = 1, p_adjusted = 1;
    double effect = 0;         // Cohen's h for 0/1 scores, else Cohen's d of the differences
    double discordance = 0;    // share of answers with another score
    double resolvable = 0;     // smallest difference that these items show: 5 % two-sided, 80 % power
    double standard_error = 0; // of the difference, over the items
    double chance = 0;
    bool has_chance = false;

    bool below_chance_a() const { return has_chance && n > 0 && mean_a < chance; }
    bool below_chance_b() const { return has_chance && n > 0 && mean_b < chance; }
    bool significant() const { return p_adjusted < 0.05; }
    // A difference that is neither shown nor large enough to be shown by these items.
    bool not_resolvable() const { return !significant() && std::abs(difference) < resolvable; }
};

PairedTask compare_task(const std::string& task, const std::vector<SamplePair>& pairs);
void adjust_by_holm(const std::vector<PairedTask*>& tasks); // p_adjusted over all of them

} // namespace dorabench
