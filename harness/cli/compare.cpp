// compare A B: the same items answered by two runs, or by two methods (runs paired by their seeds).
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "harness/report/paired.h"
#include "harness/report/table.h"
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;
using Runs = std::vector<RunRecord>;

// A run, or all finished runs of a method; those must differ in the seed alone.
Runs side(const std::string& results, const std::string& word) {
    Runs out;
    for (RunRecord& run : read_runs(results))
        if (run.status == "done" && run.method == word) out.push_back(std::move(run));
    if (out.empty()) {
        std::optional<RunRecord> run = find_run(results, word);
        if (!run)
            throw Error::config(results, ": no run or method is called \"", word,
                                "\"; `list runs` names them all");
        if (run->status != "done")
            throw Error::config(results, ": run ", run->id, " must be done to be compared, its status is ",
                                run->status);
        return {*run};
    }
    std::set<std::string> groups;
    std::vector<std::string> ids;
    for (const RunRecord& run : out) {
        groups.insert(run.group);
        ids.push_back(cat(run.id, " (r", run.rank, ", seed ", run.seed, ")"));
    }
    if (groups.size() > 1)
        throw Error::config("the runs of ", word,
                            " differ in more than the seed, name one: ", join(ids, ", "));
    return out;
}

// Seeds that both have; runs of one each are paired whatever their seeds.
void pair_by_seed(Runs& a, Runs& b) {
    if (a.size() == 1 && b.size() == 1) return;
    Runs left, right;
    for (const RunRecord& one : a)
        for (const RunRecord& other : b)
            if (one.seed == other.seed) {
                left.push_back(one);
                right.push_back(other);
                break;
            }
    if (left.empty()) throw Error::config("the two sides must share a seed, they have none in common");
    a = left;
    b = right;
}

std::vector<PairedTask> paired_tasks(const Runs& a, const Runs& b) {
    std::vector<PairedTask> out;
    for (const auto& [task, result] : a.front().tasks) {
        std::vector<ScoresById> left, right;
        for (size_t i = 0; i < a.size(); ++i) {
            auto one = read_scores(a[i].path, task), other = read_scores(b[i].path, task);
            if (!one || !other) continue;
            left.push_back(*one);
            right.push_back(*other);
        }
        PairedTask compared = compare_scores(task, left, right);
        if (compared.n > 0) out.push_back(compared);
    }
    if (out.empty())
        throw Error::data("the two sides share no answered item: samples/ of ", a.front().path, " and ",
                          b.front().path);
    adjust(out);
    return out;
}

struct Macro { // mean over tasks, taken as independent
    double difference = 0, low = 0, high = 0;
};

Macro macro_of(const std::vector<PairedTask>& tasks) {
    double sum = 0, variance = 0, count = static_cast<double>(tasks.size());
    for (const PairedTask& task : tasks) {
        sum += task.difference / count;
        variance += task.standard_error * task.standard_error / (count * count);
    }
    double half = normal_quantile(0.975) * std::sqrt(variance);
    return {sum, sum - half, sum + half};
}

std::string name_of(const Runs& runs) {
    const RunRecord& run = runs.front();
    return cat(run.method, run.rank > 0 ? cat(" r", run.rank) : "",
               runs.size() == 1 ? " (" + run.id + ")" : cat(" (", runs.size(), " seeds)"));
}

json cost_json(const Runs& runs) {
    double seconds = 0;
    int64_t peak = 0;
    std::vector<std::string> ids;
    for (const RunRecord& run : runs) {
        seconds += run.train_seconds / static_cast<double>(runs.size());
        peak = std::max(peak, run.peak_memory_bytes);
        ids.push_back(run.id);
    }
    return {{"runs", ids},
            {"method", runs.front().method},
            {"rank", runs.front().rank > 0 ? json(runs.front().rank) : json()},
            {"trainable", runs.front().trainable},
            {"stored_bytes", runs.front().stored_bytes},
            {"train_seconds", seconds > 0 ? json(seconds) : json()},
            {"peak_memory_bytes", peak > 0 ? json(peak) : json()}};
}

json task_json(const PairedTask& task) {
    return {{"n", task.n},
            {"only_a", task.only_a},
            {"only_b", task.only_b},
            {"a", task.mean_a},
            {"b", task.mean_b},
            {"difference", task.difference},
            {"ci95", {task.interval.low, task.interval.high}},
            {"test", task.binary ? "mcnemar_exact" : "paired_bootstrap"},
            {"p", task.p},
            {"p_holm", task.p_adjusted},
            {"p_mid", task.binary ? json(task.mcnemar.p_mid) : json()},
            {"effect_size", task.effect},
            {"only_a_right", task.binary ? json(task.mcnemar.b) : json()},
            {"only_b_right", task.binary ? json(task.mcnemar.c) : json()},
            {"discordance", task.discordance},
            {"resolvable_difference", task.resolvable}};
}

std::string p_text(double p) { return p < 0.001 ? "<0.001" : fixed(p, 3); }

std::string verdict(const PairedTask& task) {
    if (task.p_adjusted < 0.05) return task.difference > 0 ? "B is better" : "A is better";
    return std::abs(task.difference) < task.resolvable ? "not resolvable" : "no difference shown";
}

Table as_table(const Runs& a, const Runs& b, const std::vector<PairedTask>& tasks) {
    Table table;
    table.title = "A: " + name_of(a) + "   B: " + name_of(b);
    table.header = {"task", "n",        "A",      "B",          "B - A",  "95 %",
                    "p",    "p (Holm)", "effect", "resolvable", "verdict"};
    table.align.assign(table.header.size(), Align::right);
    table.align.front() = table.align.back() = Align::left;
    for (const PairedTask& task : tasks)
        table.rows.push_back(
            {task.task, cat(task.n), fixed(100 * task.mean_a, 1), fixed(100 * task.mean_b, 1),
             fixed(100 * task.difference, 1),
             cat(fixed(100 * task.interval.low, 1), " to ", fixed(100 * task.interval.high, 1)),
             p_text(task.p), p_text(task.p_adjusted), fixed(task.effect, 3), fixed(100 * task.resolvable, 1),
             verdict(task)});
    Macro macro = macro_of(tasks);
    table.rules = {table.rows.size()};
    table.rows.push_back({"average", "", "", "", fixed(100 * macro.difference, 1),
                          cat(fixed(100 * macro.low, 1), " to ", fixed(100 * macro.high, 1))});
    table.notes = {
        "p: McNemar's exact test for 0/1 scores, else a paired bootstrap; effect: Cohen's h, else d.",
        "resolvable: the smallest difference that these items show at 80 % power and 5 % two-sided error."};
    auto cost = [](const Runs& runs) {
        json all = cost_json(runs);
        return cat(
            name_of(runs), ": ", with_commas(runs.front().trainable), " trainable, stored ",
            human_bytes(static_cast<double>(runs.front().stored_bytes)),
            all["train_seconds"].is_null() ? "" : ", trained in " + human_seconds(all["train_seconds"]),
            all["peak_memory_bytes"].is_null() ? ""
                                               : ", peak memory " + human_bytes(all["peak_memory_bytes"]));
    };
    table.notes.push_back("A: " + cost(a));
    table.notes.push_back("B: " + cost(b));
    for (const PairedTask& task : tasks)
        if (task.only_a + task.only_b > 0)
            table.notes.push_back(cat(task.task, ": ", task.only_a + task.only_b,
                                      " items that one side alone answered are left out"));
    return table;
}

} // namespace

int compare_command(const CompareOptions& options, const Globals& globals) {
    Runs a = side(options.results, options.a), b = side(options.results, options.b);
    pair_by_seed(a, b);
    std::vector<PairedTask> tasks = paired_tasks(a, b);
    if (globals.format != "json") {
        std::cout << render(as_table(a, b, tasks), globals.format);
        return 0;
    }
    json by_task = json::object();
    for (const PairedTask& task : tasks) by_task[task.task] = task_json(task);
    Macro macro = macro_of(tasks);
    json out = {{"schema_version", kSchemaVersion},
                {"a", cost_json(a)},
                {"b", cost_json(b)},
                {"tasks", by_task},
                {"average", {{"difference", macro.difference}, {"ci95", {macro.low, macro.high}}}}};
    std::cout << out.dump(2) << "\n";
    return 0;
}

} // namespace dorabench
