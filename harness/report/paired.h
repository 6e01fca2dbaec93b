#pragma once
// Two sets of answers to the same items: paired tests, interval, effect size and what the items could have
// shown. 0/1 scores: McNemar's exact test; others: paired bootstrap. p values of several tasks are adjusted
// by Holm's method.
#include "harness/store/store.h"
#include "tasks/metrics/statistics.h"
#include <map>

namespace dorabench {

using ScoresById = std::map<std::string, double>; // sample id → score in [0, 1]

// samples/<task>.jsonl of a run; the task's file name has '.' for '/'. nullopt where there is none. Lines
// that are damaged are left out.
std::optional<ScoresById> read_scores(const std::string& run_folder, const std::string& task);

struct PairedTask {
    std::string task;
    int64_t n = 0, only_a = 0, only_b = 0; // shared items; items that one side alone answered
    bool binary = true;
    double mean_a = 0, mean_b = 0, difference = 0; // b - a
    Interval interval;                             // 95 %, paired bootstrap
    McNemar mcnemar;                               // b: only A right, c: only B right
    double p = 1, p_adjusted = 1;
    double effect = 0;         // Cohen's h for 0/1 scores, else Cohen's d of the differences
    double discordance = 0;    // share of items with other scores
    double resolvable = 0;     // smallest difference that these items resolve at that discordance
    double standard_error = 0; // of the difference
};

PairedTask compare_scores(const std::string& task, const std::vector<ScoresById>& a,
                          const std::vector<ScoresById>& b);
void adjust(std::vector<PairedTask>& tasks); // p_adjusted

} // namespace dorabench
