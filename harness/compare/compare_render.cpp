#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/compare/compare.h"
#include <algorithm>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

std::string percent(double fraction, int digits = 1) { return fixed(100 * fraction, digits); }
std::string p_text(double p) { return p < 0.001 ? "<0.001" : fixed(p, 3); }
std::string interval_text(double low, double high) { return percent(low) + " to " + percent(high); }
json number(double value) { return std::isfinite(value) ? json(value) : json(); }
json positive(double value) { return value > 0 ? json(value) : json(); }

std::string verdict(const PairedTask& task) {
    if (task.significant()) return task.difference > 0 ? "B is better" : "A is better";
    return task.not_resolvable() ? "not resolvable" : "no difference shown";
}

struct Cost {
    double seconds = 0;
    int64_t peak = 0;
};

Cost cost_of(const Runs& runs) {
    Cost out;
    for (const RunRecord& run : runs) {
        out.seconds += run.train_seconds / static_cast<double>(runs.size());
        out.peak = std::max(out.peak, run.peak_memory_bytes);
    }
    return out;
}

std::string cost_text(const Runs& runs) {
    Cost cost = cost_of(runs);
    const RunRecord& run = runs.front();
    return cat(side_label(runs), ": ", with_commas(run.trainable), " trainable, stored ",
               human_bytes(static_cast<double>(run.stored_bytes)),
               cost.seconds > 0 ? ", trained in " + human_seconds(cost.seconds) : "",
               cost.peak > 0 ? ", peak memory " + human_bytes(static_cast<double>(cost.peak)) : "");
}

json cost_json(const Runs& runs) {
    Cost cost = cost_of(runs);
    const RunRecord& run = runs.front();
    json ids = json::array(), seeds = json::array();
    for (const RunRecord& one : runs) {
        ids.push_back(one.id);
        seeds.push_back(one.seed);
    }
    return {{"runs", ids},
            {"seeds", seeds},
            {"method", run.method},
            {"rank", run.rank > 0 ? json(run.rank) : json()},
            {"learning_rate", positive(run.learning_rate)},
            {"trainable", run.trainable},
            {"stored_bytes", run.stored_bytes},
            {"chosen_by", run.chosen_by.empty() ? json() : json(run.chosen_by)},
            {"train_seconds", positive(cost.seconds)},
            {"peak_memory_bytes", cost.peak > 0 ? json(cost.peak) : json()}};
}

json task_json(const PairedTask& task) {
    bool seeds = task.seeds > 1;
    return {{"n", task.n},
            {"items", task.items},
            {"seeds", task.seeds},
            {"only_a", task.only_a},
            {"only_b", task.only_b},
            {"a", task.mean_a},
            {"b", task.mean_b},
            {"difference", task.difference},
            {"ci95", {task.interval.low, task.interval.high}},
            {"ci95_seeds", seeds ? json{task.seed_interval.low, task.seed_interval.high} : json()},
            {"test", task.exact ? "mcnemar_exact" : "paired_bootstrap"},
            {"p", task.p},
            {"p_holm", task.p_adjusted},
            {"p_mid", task.exact ? json(task.mcnemar.p_mid) : json()},
            {"p_bootstrap", task.bootstrap_p},
            {"only_a_right", task.exact ? json(task.mcnemar.b) : json()},
            {"only_b_right", task.exact ? json(task.mcnemar.c) : json()},
            {"effect_size", task.effect},
            {"effect", task.binary ? "cohen_h" : "cohen_d"},
            {"discordance", task.discordance},
            {"resolvable_difference", task.resolvable},
            {"resolvable", !task.not_resolvable()},
            {"verdict", verdict(task)},
            {"unparsed", {{"a", task.unparsed_a}, {"b", task.unparsed_b}}},
            {"among_parsed", {{"a", number(task.parsed_a)}, {"b", number(task.parsed_b)}}},
            {"chance", task.has_chance ? json(task.chance) : json()},
            {"below_chance", {{"a", task.below_chance_a()}, {"b", task.below_chance_b()}}}};
}

json mean_json(const MeanDifference& mean) {
    return {{"difference", mean.difference}, {"ci95", {mean.low, mean.high}}, {"tasks", mean.tasks}};
}

json pair_json(const PairReport& pair) {
    json tasks = json::object();
    for (const PairedTask& task : pair.tasks) tasks[task.task] = task_json(task);
    return {
        {"a", cost_json(pair.a)},
        {"b", cost_json(pair.b)},
        {"tasks", tasks},
        {"average", mean_json(pair.average)},
        {"average_above_chance", pair.average_above_chance ? mean_json(*pair.average_above_chance) : json()},
        {"warnings", pair.warnings}};
}

std::string marked(double value, bool below) { return percent(value) + (below ? "*" : ""); }

void add_mean(const std::string& name, const MeanDifference& mean, Table& table) {
    table.rows.push_back({name, "", "", "", percent(mean.difference), interval_text(mean.low, mean.high)});
}

void add_notes(const PairReport& pair, Table& table) {
    std::vector<std::string> below;
    size_t seeds = 0;
    for (const PairedTask& task : pair.tasks) {
        if (task.below_chance_a()) below.push_back("A on " + task.task);
        if (task.below_chance_b()) below.push_back("B on " + task.task);
        seeds = std::max(seeds, task.seeds);
    }
    table.notes.push_back(
        "p: McNemar's exact test for 0/1 scores of one seed, else a paired bootstrap of 10,000 "
        "resamples; Holm over all tasks; effect: Cohen's h, else d.");
    table.notes.push_back("resolvable: the smallest difference that these items show at 80 % power and 5 % "
                          "two-sided error; a difference below it that is not shown is \"not resolvable\".");
    if (seeds > 1)
        for (const PairedTask& task : pair.tasks)
            table.notes.push_back(cat(task.task, ": between ", task.seeds, " seeds ",
                                      interval_text(task.seed_interval.low, task.seed_interval.high),
                                      " (Student's t)"));
    if (!below.empty())
        table.notes.push_back(
            cat("* below chance: ", join(below, ", "),
                "; such a cell says that answers were not parsed or training collapsed, and "
                "the average is shown with and without it"));
    table.notes.push_back("A: " + cost_text(pair.a));
    table.notes.push_back("B: " + cost_text(pair.b));
    for (const auto& [side, runs] : {std::pair("A", &pair.a), std::pair("B", &pair.b)})
        if (const std::string& chosen = runs->front().chosen_by; !chosen.empty())
            table.notes.push_back(cat(side, ": ", chosen, "; the test scores of the others are not shown"));
    table.warnings = pair.warnings;
}

Table pair_table(const PairReport& pair) {
    Table table;
    table.title = "A: " + side_label(pair.a) + "   B: " + side_label(pair.b);
    table.header = {"task", "n",        "A",      "B",          "B - A",          "95 %",
                    "p",    "p (Holm)", "effect", "resolvable", "unparsed A / B", "verdict"};
    table.align.assign(table.header.size(), Align::right);
    table.align.front() = table.align.back() = Align::left;
    for (const PairedTask& task : pair.tasks)
        table.rows.push_back({task.task, cat(task.n), marked(task.mean_a, task.below_chance_a()),
                              marked(task.mean_b, task.below_chance_b()), percent(task.difference),
                              interval_text(task.interval.low, task.interval.high), p_text(task.p),
                              p_text(task.p_adjusted), fixed(task.effect, 3), percent(task.resolvable, 2),
                              cat(task.unparsed_a, " / ", task.unparsed_b), verdict(task)});
    table.rules = {table.rows.size()};
    add_mean("average", pair.average, table);
    if (pair.average_above_chance) add_mean("without * cells", *pair.average_above_chance, table);
    add_notes(pair, table);
    return table;
}

json point_json(const ParetoPoint& point) {
    return {{"group", point.label},
            {"runs", point.runs},
            {"average", point.average},
            {"trainable", point.trainable},
            {"stored_bytes", point.stored_bytes},
            {"train_seconds", positive(point.train_seconds)},
            {"peak_memory_bytes", point.peak_memory_bytes > 0 ? json(point.peak_memory_bytes) : json()},
            {"on_front",
             {{"trainable", point.front_trainable},
              {"stored_bytes", point.front_stored},
              {"train_seconds", point.front_seconds},
              {"peak_memory_bytes", point.front_memory}}}};
}

} // namespace

Table pareto_table(const std::vector<ParetoPoint>& points) {
    Table table;
    table.title = "Pareto front: + where no other group scores as well at less cost";
    table.header = {"group", "average", "trainable", "stored", "train", "peak memory"};
    table.align.assign(table.header.size(), Align::right);
    table.align.front() = Align::left;
    auto cell = [](bool known, const std::string& text, bool front) {
        return known ? text + (front ? " +" : "  ") : std::string("-  ");
    };
    for (const ParetoPoint& point : points)
        table.rows.push_back(
            {point.label, percent(point.average),
             cell(point.trainable > 0, with_commas(point.trainable), point.front_trainable),
             cell(point.stored_bytes > 0, human_bytes(static_cast<double>(point.stored_bytes)),
                  point.front_stored),
             cell(point.train_seconds > 0, human_seconds(point.train_seconds), point.front_seconds),
             cell(point.peak_memory_bytes > 0, human_bytes(static_cast<double>(point.peak_memory_bytes)),
                  point.front_memory)});
    return table;
}

std::string compare_as_text(const CompareReport& report, const std::string& format) {
    std::string out;
    for (const PairReport& pair : report.pairs)
        out += (out.empty() ? "" : "\n") + render(pair_table(pair), format);
    if (report.pareto.size() > 1) out += "\n" + render(pareto_table(report.pareto), format);
    return out;
}

json compare_as_json(const CompareReport& report) {
    json out = {{"schema_version", kSchemaVersion}};
    if (report.pairs.size() == 1) {
        out.update(pair_json(report.pairs.front()));
    } else {
        out["pairs"] = json::array();
        for (const PairReport& pair : report.pairs) out["pairs"].push_back(pair_json(pair));
    }
    out["pareto"] = json::array();
    for (const ParetoPoint& point : report.pareto) out["pareto"].push_back(point_json(point));
    return out;
}

} // namespace dorabench
