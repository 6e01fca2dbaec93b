#include "harness/report/comparison.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/store/settings_keys.h"
#include "tasks/metrics/statistics.h"
#include <algorithm>
#include <cmath>
#include <set>

namespace dorabench {
namespace {

size_t place_in(const std::vector<std::string>& order, const std::string& name) {
    return static_cast<size_t>(std::find(order.begin(), order.end(), name) - order.begin());
}

size_t method_place(const std::string& method) {
    return place_in({"none", "lora", "dora", "vera", "dvora", "ft"}, method);
}

std::string short_task(const std::string& task) { return task.substr(task.find_last_of('/') + 1); }

size_t task_place(const std::string& task) {
    return place_in({"boolq", "piqa", "siqa", "social_i_qa", "hellaswag", "winogrande", "arc_easy",
                     "arc_challenge", "obqa", "openbookqa"},
                    short_task(task));
}

TaskCell cell_of(const std::vector<const RunRecord*>& runs, const std::string& task) {
    TaskCell cell;
    std::vector<double> values;
    for (const RunRecord* run : runs) {
        auto at = run->tasks.find(task);
        if (at == run->tasks.end()) continue;
        const TaskResult& result = at->second;
        cell.unparsed += result.unparsed;
        cell.n += result.n;
        cell.chance = result.chance;
        cell.has_chance = result.has_chance;
        cell.metric = result.primary;
        auto measured = result.metrics.find(result.primary);
        if (measured == result.metrics.end() || measured->second.missing) continue;
        values.push_back(measured->second.value);
        cell.estimate = {measured->second.value, measured->second.ci_low, measured->second.ci_high, true,
                         false};
    }
    if (values.size() > 1) cell.estimate = over_seeds(values);
    return cell;
}

// Of one run: the items' errors, tasks taken as independent. z = 1.96.
Estimate average_of_items(const RunRecord& run, const std::set<std::string>& left_out) {
    double sum = 0, variance = 0;
    int64_t count = 0;
    for (const auto& [task, result] : run.tasks) {
        auto measured = result.metrics.find(result.primary);
        if (left_out.count(task) || measured == result.metrics.end() || measured->second.missing) continue;
        sum += measured->second.value;
        variance += measured->second.stderr_ * measured->second.stderr_;
        ++count;
    }
    if (count == 0) return {};
    double mean = sum / static_cast<double>(count),
           half = normal_quantile(0.975) * std::sqrt(variance) / static_cast<double>(count);
    return {mean, mean - half, mean + half, true, false};
}

Estimate average_of(const std::vector<const RunRecord*>& runs, const std::set<std::string>& left_out) {
    std::vector<double> values;
    Estimate last;
    for (const RunRecord* run : runs) {
        Estimate one = average_of_items(*run, left_out);
        if (!one.present) continue;
        values.push_back(one.value);
        last = one;
    }
    return values.size() > 1 ? over_seeds(values) : last;
}

// What one run's tasks say of its parsing: unparsed answers score 0, so that strict = among parsed * share
// parsed.
struct Parsing {
    double among_parsed = 0, unparsed = 0, chance = 0;
    bool has_parsed = false, has_items = false, has_chance = false;
};

Parsing parsing_of(const RunRecord& run) {
    Parsing out;
    int64_t items = 0, unparsed = 0, tasks = 0;
    bool all = true, chance = !run.tasks.empty();
    for (const auto& [task, result] : run.tasks) {
        items += result.n;
        unparsed += result.unparsed;
        chance = chance && result.has_chance;
        out.chance += result.chance / static_cast<double>(run.tasks.size());
        auto measured = result.metrics.find(result.primary);
        if (measured == result.metrics.end() || measured->second.missing) continue;
        ++tasks;
        all = all && result.n > result.unparsed;
        if (result.n > result.unparsed)
            out.among_parsed += measured->second.value * static_cast<double>(result.n) /
                                static_cast<double>(result.n - result.unparsed);
    }
    out.has_items = items > 0;
    out.unparsed = items > 0 ? static_cast<double>(unparsed) / static_cast<double>(items) : 0;
    out.has_parsed = all && tasks > 0;
    out.among_parsed /= static_cast<double>(std::max<int64_t>(1, tasks));
    out.has_chance = chance;
    return out;
}

void fill_by_seed(const std::vector<const RunRecord*>& runs, MethodRow& row) {
    std::vector<double> parsed, unparsed, seconds, memory;
    for (const RunRecord* run : runs) {
        Parsing parsing = parsing_of(*run);
        if (parsing.has_parsed) parsed.push_back(parsing.among_parsed);
        if (parsing.has_items) unparsed.push_back(parsing.unparsed);
        if (parsing.has_chance) row.chance = {parsing.chance, parsing.chance, parsing.chance, true, false};
        if (run->train_seconds > 0) seconds.push_back(run->train_seconds);
        if (run->peak_memory_bytes > 0) memory.push_back(static_cast<double>(run->peak_memory_bytes));
        if (Estimate one = average_of_items(*run, {}); one.present) row.averages[run->seed] = one.value;
    }
    row.among_parsed = over_seeds(parsed);
    row.unparsed = over_seeds(unparsed);
    row.seconds = over_seeds(seconds);
    row.memory = over_seeds(memory);
}

MethodRow row_of(const std::vector<const RunRecord*>& runs) {
    const RunRecord& first = *runs.front();
    MethodRow row;
    row.method = first.method;
    row.rank = first.method == "ft" || first.method == "none" ? 0 : first.rank;
    row.trainable = first.trainable;
    row.total = first.total;
    row.learning_rate = first.learning_rate;
    row.settings = first.settings;
    row.chosen_by = first.chosen_by;
    std::set<std::string> tasks, below;
    for (const RunRecord* run : runs) {
        row.runs.push_back(run->id);
        row.seeds.push_back(run->seed);
        row.partial = row.partial || run->partial;
        row.peak_memory_bytes = std::max(row.peak_memory_bytes, run->peak_memory_bytes);
        row.train_seconds += run->train_seconds / static_cast<double>(runs.size());
        for (const auto& [task, result] : run->tasks) tasks.insert(task);
    }
    for (const std::string& task : tasks) {
        row.tasks[task] = cell_of(runs, task);
        if (row.tasks[task].below_chance()) below.insert(task);
    }
    row.average = average_of(runs, {});
    fill_by_seed(runs, row);
    if (!below.empty()) row.average_above_chance = average_of(runs, below);
    return row;
}

// Rows of one method and rank must not look alike: each is labelled with the settings in which they differ.
void label_rows(std::vector<MethodRow>& rows) {
    std::map<std::pair<std::string, int64_t>, std::vector<MethodRow*>> twins;
    for (MethodRow& row : rows) twins[{row.method, row.rank}].push_back(&row);
    for (auto& [key, members] : twins) {
        if (members.size() < 2) continue;
        std::set<std::string> keys, differing;
        for (const MethodRow* row : members)
            for (const auto& [name, value] : row->settings)
                if (!shapes_no_result(name)) keys.insert(name);
        auto value_of = [](const MethodRow* row, const std::string& name) {
            auto at = row->settings.find(name);
            return at == row->settings.end() ? std::string("-") : at->second;
        };
        for (const std::string& name : keys)
            for (const MethodRow* row : members)
                if (value_of(row, name) != value_of(members.front(), name)) differing.insert(name);
        for (MethodRow* row : members) {
            std::vector<std::string> parts;
            for (const std::string& name : differing)
                parts.push_back(cat(name.substr(name.find('.') + 1), "=", value_of(row, name)));
            row->label = parts.empty() ? row->runs.front().substr(0, 6) : join(parts, " ");
        }
    }
}

} // namespace

std::string row_name(const MethodRow& row) {
    return cat(row.method == "none" ? "base" : row.method, row.rank > 0 ? cat(" r", row.rank) : "",
               row.label.empty() ? "" : cat(" [", row.label, "]"));
}

Estimate over_seeds(const std::vector<double>& values) {
    if (values.empty()) return {};
    double n = static_cast<double>(values.size()), mean = 0, squares = 0;
    for (double value : values) mean += value / n;
    if (values.size() == 1) return {mean, mean, mean, true, false};
    for (double value : values) squares += (value - mean) * (value - mean);
    double half = student_t_quantile(0.975, n - 1) * std::sqrt(squares / (n - 1) / n);
    return {mean, mean - half, mean + half, true, true};
}

std::vector<Comparison> make_comparisons(const std::vector<RunRecord>& records) {
    std::vector<Comparison> out;
    std::map<std::string, size_t> places;
    std::vector<std::map<std::string, std::vector<const RunRecord*>>> groups;
    for (const RunRecord& record : records) {
        auto [at, fresh] = places.emplace(record.backbone, out.size());
        if (fresh) {
            out.push_back({record.backbone, {}, {}, {}, {}});
            groups.emplace_back();
        }
        if (record.status == "done")
            groups[at->second][record.group].push_back(&record);
        else
            out[at->second].unfinished.push_back(record);
    }
    for (size_t i = 0; i < out.size(); ++i) {
        Comparison& comparison = out[i];
        std::set<std::string> tasks;
        for (const auto& [group, runs] : groups[i]) comparison.rows.push_back(row_of(runs));
        label_rows(comparison.rows);
        for (const MethodRow& row : comparison.rows)
            for (const auto& [task, cell] : row.tasks) tasks.insert(task);
        comparison.tasks.assign(tasks.begin(), tasks.end());
        std::stable_sort(
            comparison.tasks.begin(), comparison.tasks.end(),
            [](const std::string& a, const std::string& b) { return task_place(a) < task_place(b); });
        std::sort(comparison.rows.begin(), comparison.rows.end(), [](const MethodRow& a, const MethodRow& b) {
            return std::make_tuple(method_place(a.method), a.method, a.rank, a.label, a.runs) <
                   std::make_tuple(method_place(b.method), b.method, b.rank, b.label, b.runs);
        });
    }
    return out;
}

std::vector<PublishedRow> beside(const Comparison& comparison, const MethodRow& row,
                                 const std::vector<PublishedRow>& all) {
    auto names = [&](const char* key) {
        auto at = row.settings.find(key);
        std::vector<std::string> out;
        if (at == row.settings.end()) return out;
        for (const std::string& part : split(replace_all(replace_all(at->second, "[", ""), "]", ""), ','))
            if (!trim(part).empty()) out.push_back(trim(part));
        return out;
    };
    std::vector<PublishedRow> out;
    for (PublishedRow& one : published(all, comparison.backbone, row.method, row.rank,
                                       names("adapter.target_modules"), names("adapter.magnitude_modules")))
        if (std::any_of(comparison.tasks.begin(), comparison.tasks.end(),
                        [&](const std::string& task) { return one.scores.count(short_task(task)) > 0; }))
            out.push_back(std::move(one));
    return out;
}

} // namespace dorabench
