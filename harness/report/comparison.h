#pragma once
// Finished runs side by side: grouped over seeds, with intervals, chance, unparsed answers and what a
// difference would have to be to be resolved. Interval of a row with two seeds or more: Student's t over the
// seeds; else over the items, as the store has it (Wilson for 0/1 scores).
#include "harness/report/published.h"
#include "harness/report/table.h"
#include <nlohmann/json_fwd.hpp>

namespace dorabench {

struct Estimate { // fractions
    double value = 0, low = 0, high = 0;
    bool present = false, over_seeds = false;
    double half_width() const { return (high - low) / 2; }
};

struct TaskCell {
    std::string metric; // the task's primary metric
    Estimate estimate;
    int64_t n = 0, unparsed = 0; // items and unparsed answers of all seeds
    double chance = 0;
    bool has_chance = false;
    bool below_chance() const { return has_chance && estimate.present && estimate.value < chance; }
};

inline constexpr const char* kAverageLetters = ""; // the key of the average's letters

struct MethodRow { // runs that differ in the seed alone
    std::string method,
        label; // label: the settings that tell it from another row of this method and rank; often empty
    int64_t rank = 0; // 0: has none
    std::vector<std::string> runs;
    std::vector<uint64_t> seeds;
    int64_t trainable = 0, total = 0, peak_memory_bytes = 0; // peak: the largest
    double train_seconds = 0, learning_rate = 0;             // seconds: the mean
    bool partial = false;
    std::map<std::string, TaskCell> tasks;
    Estimate average, average_above_chance; // the second leaves cells below chance out
    // of all tasks: the mean over the answers that were parsed, the share that was not, and what training
    // took; with intervals over the seeds where there are two or more
    Estimate among_parsed, unparsed, seconds, memory;
    Estimate chance;                     // the tasks' mean, where all have one
    std::map<uint64_t, double> averages; // by seed
    std::map<std::string, std::string>
        letters; // by task, and kAverageLetters; letters.h of compare fills them in
    std::map<std::string, std::string> settings;
    std::string chosen_by; // RunRecord::chosen_by
};
std::string row_name(const MethodRow& row); // "lora r16 [learning_rate=0.001]", "base"

struct Comparison { // of one backbone
    std::string backbone;
    std::vector<std::string> tasks; // the paper's order, then others by name
    std::vector<MethodRow> rows;    // base, lora, dora, vera, dvora, ft, others; then by rank
    std::vector<RunRecord> unfinished;
    std::vector<std::string>
        warnings; // why the rows do not compare fairly; letters.h of compare fills them in
};

Estimate
over_seeds(const std::vector<double>& values); // Student's t, 95 %; one value: present, without an interval
std::vector<Comparison> make_comparisons(const std::vector<RunRecord>& records);
// published: rows to show, labelled, beside the measured rows of the same backbone, method, rank and targets.
Table comparison_as_table(const Comparison& comparison, const std::vector<PublishedRow>& published);
Table unfinished_as_table(const Comparison& comparison);
nlohmann::json comparison_as_json(const Comparison& comparison, const std::vector<PublishedRow>& published);
std::string comparison_as_csv(const Comparison& comparison, const std::vector<PublishedRow>& published,
                              bool head);
// The published rows that stand beside a measured one.
std::vector<PublishedRow> beside(const Comparison& comparison, const MethodRow& row,
                                 const std::vector<PublishedRow>& published);

// The comparison, the rank curves (curve.h) where a method was run at two ranks or more, the runs without a
// result.
std::vector<Table> comparison_tables(const Comparison& comparison,
                                     const std::vector<PublishedRow>& published);
// These of every backbone, with the published figures of the program's own baselines; json and csv: one
// document.
std::string comparison_text(const std::vector<Comparison>& comparisons, const std::string& format);

} // namespace dorabench
