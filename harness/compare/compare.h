#pragma once
// Two runs or two methods side by side: what differs, whether the items show it, what it costs, and whether
// the comparison is a fair one.
#include "harness/compare/paired.h"
#include "harness/report/table.h"
#include <nlohmann/json_fwd.hpp>

namespace dorabench {

using Runs = std::vector<RunRecord>; // of one side: they differ in the seed alone

struct MeanDifference { // over tasks, taken as independent; b - a
    double difference = 0, low = 0, high = 0;
    size_t tasks = 0;
};

struct PairReport {
    Runs a, b; // as many on both sides; the i-th of each belong together
    std::vector<PairedTask> tasks;
    MeanDifference average;
    std::optional<MeanDifference> average_above_chance; // without tasks where a side is below chance
    std::vector<std::string> warnings;                  // why the comparison is not fair, one line each
};

struct ParetoPoint { // one group of runs; a front holds what no other group beats in score without costing
                     // more
    std::string label;
    std::vector<std::string> runs;
    double average = 0, train_seconds = 0;
    int64_t trainable = 0, stored_bytes = 0, peak_memory_bytes = 0;
    bool front_trainable = false, front_stored = false, front_seconds = false, front_memory = false;
};

struct CompareReport {
    std::vector<PairReport> pairs;   // one, or one for each rank and setting that both methods were run at
    std::vector<ParetoPoint> pareto; // of all groups on both sides, where a side was named as a method
};

// a, b: a run (id, beginning of an id, name), a method, or method:rank. Error::config where a word fits
// nothing or the runs of a side cannot be told apart; Error::data where the sides share no answered item.
CompareReport compare_sides(const std::vector<RunRecord>& store, const std::string& a, const std::string& b);
// A point a group, with the front flags over all of them; a cost of 0 is unknown and keeps a point off that
// front.
std::vector<ParetoPoint> pareto_points(const std::vector<Runs>& groups);
void mark_pareto(std::vector<ParetoPoint>& points);
Table pareto_table(const std::vector<ParetoPoint>& points);

// Why sides are not compared under equal conditions, one line a reason. store: all runs, to see which
// learning rates were tried. Two sides: "steps differs: 100 against 200 (train.max_steps)"; of more, it is
// said which have what.
struct FairnessSide {
    std::string label; // "A", "lora r16"
    const Runs* runs;
};
std::vector<std::string> fairness_warnings(const std::vector<FairnessSide>& sides,
                                           const std::vector<RunRecord>& store);

std::string side_label(const Runs& runs);
std::string compare_as_text(const CompareReport& report, const std::string& format); // as render() of table.h
nlohmann::json compare_as_json(const CompareReport& report);

} // namespace dorabench
