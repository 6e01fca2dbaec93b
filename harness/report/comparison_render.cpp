// A comparison as a table for people, as CSV and as JSON for programs. Percent appears only here.
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/report/comparison.h"
#include "tasks/metrics/statistics.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;
constexpr double kAssumedDiscordance = 0.10; // share of items on which two methods disagree

std::string short_task(const std::string& task) { return task.substr(task.find_last_of('/') + 1); }

std::string percent(const Estimate& estimate, const char* mark = "") {
    if (!estimate.present) return "-";
    std::string out = mark + fixed(100 * estimate.value, 1);
    if (estimate.high > estimate.low) out += " ±" + fixed(100 * estimate.half_width(), 1);
    return out;
}

double unparsed_share(const MethodRow& row) {
    int64_t n = 0, unparsed = 0;
    for (const auto& [task, cell] : row.tasks) {
        n += cell.n;
        unparsed += cell.unparsed;
    }
    return n > 0 ? static_cast<double>(unparsed) / static_cast<double>(n) : -1;
}

double trainable_percent(const MethodRow& row) {
    return row.total > 0 ? 100.0 * static_cast<double>(row.trainable) / static_cast<double>(row.total) : 0;
}

std::string method_name(const MethodRow& row) {
    std::string out = row.method == "none" ? "base" : row.method;
    if (!row.label.empty()) out += " [" + row.label + "]";
    return row.partial ? out + " (partial)" : out;
}

const TaskCell* cell_of(const MethodRow& row, const std::string& task) {
    auto at = row.tasks.find(task);
    return at == row.tasks.end() ? nullptr : &at->second;
}

bool lettered(const Comparison& comparison) {
    return std::any_of(comparison.rows.begin(), comparison.rows.end(),
                       [](const MethodRow& row) { return !row.letters.empty(); });
}

std::string letters_of(const MethodRow& row, const std::string& column) {
    auto at = row.letters.find(column);
    return at == row.letters.end() || at->second.empty() ? "-" : at->second;
}

std::vector<std::string> measured_row(const Comparison& comparison, const MethodRow& row, bool uneven) {
    std::vector<std::string> out = {method_name(row), row.rank > 0 ? cat(row.rank) : "-",
                                    cat(row.seeds.size()),
                                    row.total > 0 ? fixed(trainable_percent(row), 2) : "-"};
    for (const std::string& task : comparison.tasks) {
        const TaskCell* cell = cell_of(row, task);
        out.push_back(cell ? percent(cell->estimate, cell->below_chance() ? "!" : "") : "-");
    }
    out.push_back(percent(row.average, uneven && row.tasks.size() < comparison.tasks.size() ? "<" : ""));
    if (lettered(comparison)) out.push_back(letters_of(row, kAverageLetters));
    double unparsed = unparsed_share(row);
    out.push_back(unparsed < 0 ? "-" : fixed(100 * unparsed, 1));
    out.push_back(row.peak_memory_bytes > 0 ? human_bytes(static_cast<double>(row.peak_memory_bytes)) : "-");
    out.push_back(row.train_seconds > 0 ? fixed(row.train_seconds, 1) : "-");
    return out;
}

struct Background { // of a task: what guessing gets, and how many items there are in one run
    double chance = 0;
    bool has_chance = false, binary = false;
    int64_t n = 0;
};

Background background(const Comparison& comparison, const std::string& task) {
    Background out;
    for (const MethodRow& row : comparison.rows)
        if (const TaskCell* cell = cell_of(row, task)) {
            out.has_chance = out.has_chance || cell->has_chance;
            if (cell->has_chance) out.chance = cell->chance;
            out.binary = cell->metric == "accuracy" || cell->metric == "acc" || cell->metric == "exact_match";
            out.n = std::max(out.n, cell->n / static_cast<int64_t>(row.seeds.size()));
        }
    return out;
}

// A printed figure below chance is marked as a measured one is: the field's rank tables hold several.
std::string published_score(const Comparison& comparison, const PublishedRow& row, const std::string& task) {
    auto at = row.scores.find(short_task(task));
    if (at == row.scores.end()) return "-";
    Background facts = background(comparison, task);
    return (facts.has_chance && at->second < 100 * facts.chance ? "!" : "") + fixed(at->second, 1);
}

std::vector<std::string> published_row(const Comparison& comparison, const PublishedRow& row) {
    std::vector<std::string> out = {row.method + " (published)", row.rank ? cat(*row.rank) : "-", "-",
                                    row.params_percent ? fixed(*row.params_percent, 2) : "-"};
    for (const std::string& task : comparison.tasks) out.push_back(published_score(comparison, row, task));
    out.push_back(row.average ? fixed(*row.average, 1) : "-");
    if (lettered(comparison)) out.push_back("-");
    out.insert(out.end(), {"-", "-", "-"});
    return out;
}

// "chance" and "resolvable": the smallest difference that two methods' answers to these items could have
// shown.
void add_background_rows(const Comparison& comparison, Table& table) {
    std::vector<std::string> chance = {"chance", "-", "-", "-"},
                             resolvable = {"resolvable difference", "-", "-", "-"};
    double sum = 0, squares = 0;
    bool any = false, all = true, countable = true;
    for (const std::string& task : comparison.tasks) {
        Background facts = background(comparison, task);
        any = any || facts.has_chance;
        all = all && facts.has_chance;
        sum += facts.chance;
        chance.push_back(facts.has_chance ? fixed(100 * facts.chance, 1) : "-");
        bool known = facts.binary && facts.n > 0;
        double difference = known ? minimum_detectable_difference(facts.n, kAssumedDiscordance) : 0;
        countable = countable && known;
        squares += difference * difference;
        resolvable.push_back(known ? fixed(100 * difference, 1) : "-");
    }
    double tasks = static_cast<double>(comparison.tasks.size());
    chance.push_back(all && tasks > 0 ? fixed(100 * sum / tasks, 1) : "-");
    resolvable.push_back(countable && tasks > 0 ? fixed(100 * std::sqrt(squares) / tasks, 1) : "-");
    if (any || comparison.rows.size() > 1) table.rules.push_back(table.rows.size());
    if (any) table.rows.push_back(chance);
    if (comparison.rows.size() < 2 || comparison.tasks.empty()) return;
    table.rows.push_back(resolvable);
    table.notes.push_back("resolvable difference: what two methods on the same items could show at 80 % "
                          "power and 5 % two-sided "
                          "error if they disagree on 10 % of the items, one seed each.");
}

void add_notes(const Comparison& comparison, bool uneven, const std::set<std::string>& sources,
               Table& table) {
    bool below = false, partial = false, items = false, seeds = false;
    for (const MethodRow& row : comparison.rows) {
        partial = partial || row.partial;
        for (const auto& [task, cell] : row.tasks) {
            below = below || cell.below_chance();
            (cell.estimate.over_seeds ? seeds : items) = true;
        }
        if (row.average_above_chance.present)
            table.notes.push_back(cat(method_name(row), row.rank > 0 ? cat(" r", row.rank) : "",
                                      ": average without the cells below chance ",
                                      percent(row.average_above_chance)));
    }
    if (items) table.notes.push_back("±: 95 % over the items of one run (Wilson for 0/1 scores), in points.");
    if (seeds)
        table.notes.push_back("±: 95 % over the seeds where there are two or more (Student's t), in points.");
    if (lettered(comparison))
        table.notes.push_back(
            "letters: averages that share one are not shown to differ (paired tests on the items, "
            "Holm over all pairs, 5 %); of these trainings: what other seeds would give is in ±.");
    for (const std::vector<std::string>& row : table.rows)
        below = below || std::any_of(row.begin(), row.end(),
                                     [](const std::string& cell) { return starts_with(cell, "!"); });
    if (below) table.notes.push_back("!: below chance; look at the unparsed answers first.");
    if (uneven)
        table.notes.push_back("<: the average is over fewer tasks than the table has; not comparable.");
    if (partial) table.notes.push_back("partial: evaluated with a limit; no baseline can be made of it.");
    for (const MethodRow& row : comparison.rows)
        if (!row.chosen_by.empty())
            table.notes.push_back(
                cat(row_name(row), ": ", row.chosen_by, "; the test scores of the others are not shown"));
    for (const std::string& source : sources) table.notes.push_back("published: " + source);
    table.warnings = comparison.warnings;
}

json estimate_json(const Estimate& estimate) {
    if (!estimate.present) return nullptr;
    return {{"value", estimate.value},
            {"ci95", {estimate.low, estimate.high}},
            {"interval", estimate.over_seeds ? "seeds" : "items"}};
}

json row_json(const MethodRow& row) {
    json tasks = json::object();
    for (const auto& [task, cell] : row.tasks) {
        tasks[task] = estimate_json(cell.estimate);
        if (tasks[task].is_null()) continue;
        auto letters = row.letters.find(task);
        tasks[task].update({{"letters", letters == row.letters.end() ? json() : json(letters->second)},
                            {"metric", cell.metric},
                            {"n", cell.n},
                            {"unparsed", cell.unparsed},
                            {"chance", cell.has_chance ? json(cell.chance) : json()},
                            {"below_chance", cell.has_chance ? json(cell.below_chance()) : json()}});
    }
    double unparsed = unparsed_share(row);
    return {{"source", "measured"},
            {"method", row.method},
            {"settings", row.label},
            {"rank", row.rank > 0 ? json(row.rank) : json()},
            {"seeds", row.seeds},
            {"runs", row.runs},
            {"trainable", row.trainable},
            {"total", row.total},
            {"percent_of_total", row.total > 0 ? json(trainable_percent(row)) : json()},
            {"tasks", tasks},
            {"average", estimate_json(row.average)},
            {"average_letters",
             row.letters.count(kAverageLetters) ? json(row.letters.at(kAverageLetters)) : json()},
            {"among_parsed", estimate_json(row.among_parsed)},
            {"chance", row.chance.present ? json(row.chance.value) : json()},
            {"average_above_chance", estimate_json(row.average_above_chance)},
            {"unparsed_share", unparsed < 0 ? json() : json(unparsed)},
            {"peak_memory_bytes", row.peak_memory_bytes > 0 ? json(row.peak_memory_bytes) : json()},
            {"train_seconds", row.train_seconds > 0 ? json(row.train_seconds) : json()},
            {"chosen_by", row.chosen_by.empty() ? json() : json(row.chosen_by)},
            {"partial", row.partial}};
}

json published_json(const PublishedRow& row) {
    return {{"source", "published"},
            {"paper", row.source},
            {"table", row.table},
            {"method", row.method},
            {"rank", row.rank ? json(*row.rank) : json()},
            {"params_percent", row.params_percent ? json(*row.params_percent) : json()},
            {"scores_percent", row.scores},
            {"average_percent", row.average ? json(*row.average) : json()},
            {"note", row.note}};
}

std::string csv_text(const std::string& text) {
    return text.find_first_of(",\"\n\r") == std::string::npos ? text
                                                              : "\"" + replace_all(text, "\"", "\"\"") + "\"";
}

std::string csv_number(double value) { return json(value).dump(); }

std::string csv_estimate(const Estimate& estimate) {
    if (!estimate.present) return ",,";
    return csv_number(estimate.value) + "," + csv_number(estimate.low) + "," + csv_number(estimate.high);
}

} // namespace

Table comparison_as_table(const Comparison& comparison, const std::vector<PublishedRow>& published) {
    Table table;
    table.title = comparison.backbone;
    table.key_columns = 2;
    table.header = {"method", "rank", "seeds", "trainable %"};
    for (const std::string& task : comparison.tasks) table.header.push_back(short_task(task));
    table.header.push_back("average");
    if (lettered(comparison)) table.header.push_back("letters");
    for (const char* name : {"unparsed %", "peak memory", "train s"}) table.header.push_back(name);
    table.align.assign(table.header.size(), Align::right);
    table.align[0] = Align::left;
    bool uneven = std::any_of(comparison.rows.begin(), comparison.rows.end(), [&](const MethodRow& row) {
        return row.tasks.size() < comparison.tasks.size();
    });
    std::set<std::string> sources;
    for (const MethodRow& row : comparison.rows) {
        table.rows.push_back(measured_row(comparison, row, uneven));
        for (const PublishedRow& printed : beside(comparison, row, published)) {
            table.rows.push_back(published_row(comparison, printed));
            sources.insert(cat(printed.source, ", ", printed.table));
        }
    }
    add_background_rows(comparison, table);
    add_notes(comparison, uneven, sources, table);
    return table;
}

Table unfinished_as_table(const Comparison& comparison) {
    Table table;
    table.title = cat(comparison.backbone, ": runs without a result");
    table.header = {"run", "method", "rank", "seed", "status", "reason"};
    table.align = {Align::left, Align::left, Align::right, Align::right, Align::left, Align::left};
    for (const RunRecord& run : comparison.unfinished) {
        std::string reason = run.error.substr(0, run.error.find('\n'));
        table.rows.push_back(
            {run.id, run.method, run.rank > 0 ? cat(run.rank) : "-", cat(run.seed), run.status, reason});
    }
    return table;
}

json comparison_as_json(const Comparison& comparison, const std::vector<PublishedRow>& published) {
    json rows = json::array(), unfinished = json::array();
    for (const MethodRow& row : comparison.rows) {
        rows.push_back(row_json(row));
        for (const PublishedRow& printed : beside(comparison, row, published))
            rows.push_back(published_json(printed));
    }
    for (const RunRecord& run : comparison.unfinished)
        unfinished.push_back({{"run", run.id},
                              {"method", run.method},
                              {"rank", run.rank},
                              {"seed", run.seed},
                              {"status", run.status},
                              {"error", run.error}});
    return {{"backbone", comparison.backbone},
            {"tasks", comparison.tasks},
            {"rows", rows},
            {"warnings", comparison.warnings},
            {"unfinished", unfinished}};
}

std::string comparison_as_csv(const Comparison& comparison, const std::vector<PublishedRow>& published,
                              bool head) {
    std::string out;
    if (head)
        out = "backbone,source,method,settings,rank,seeds,trainable,total,task,value,ci95_low,ci95_high,n,"
              "unparsed,chance,letters,train_seconds,peak_memory_bytes\r\n";
    for (const MethodRow& row : comparison.rows) {
        std::string rank = row.rank > 0 ? cat(row.rank) : "";
        std::string start =
            cat(csv_text(comparison.backbone), ",measured,", row.method, ",", csv_text(row.label), ",", rank,
                ",", row.seeds.size(), ",", row.trainable, ",", row.total, ",");
        std::string cost = cat(",", row.train_seconds > 0 ? csv_number(row.train_seconds) : "", ",",
                               row.peak_memory_bytes > 0 ? cat(row.peak_memory_bytes) : "", "\r\n");
        for (const auto& [task, cell] : row.tasks)
            out += cat(start, csv_text(task), ",", csv_estimate(cell.estimate), ",", cell.n, ",",
                       cell.unparsed, ",", cell.has_chance ? csv_number(cell.chance) : "", ",",
                       row.letters.count(task) ? row.letters.at(task) : "", cost);
        if (row.average.present)
            out += cat(start, "average,", csv_estimate(row.average), ",,,,",
                       row.letters.count(kAverageLetters) ? row.letters.at(kAverageLetters) : "", cost);
        for (const PublishedRow& printed : beside(comparison, row, published))
            for (const auto& [task, score] : printed.scores)
                out += cat(csv_text(comparison.backbone), ",published,", row.method, ",",
                           csv_text(printed.table), ",", rank, ",,,,", task, ",", csv_number(score / 100),
                           ",,,,,,,,\r\n");
    }
    return out;
}

} // namespace dorabench
