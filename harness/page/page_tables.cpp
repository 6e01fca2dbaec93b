#include "harness/page/page_tables.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <set>

namespace dorabench {
namespace {

std::string short_task(const std::string& task) { return task.substr(task.find_last_of('/') + 1); }

// What is the same in every run, and the keys that are not.
std::pair<std::map<std::string, std::string>, std::set<std::string>>
common_settings(const std::vector<RunRecord>& records) {
    std::map<std::string, std::string> common;
    std::set<std::string> differing;
    bool first = true;
    for (const RunRecord& record : records) {
        if (record.settings.empty()) continue;
        for (const auto& [key, value] : record.settings) {
            if (first)
                common.emplace(key, value);
            else if (auto at = common.find(key); at == common.end() || at->second != value)
                differing.insert(key);
        }
        for (const auto& [key, value] : common)
            if (!record.settings.count(key)) differing.insert(key);
        first = false;
    }
    for (const std::string& key : differing) common.erase(key);
    return {common, differing};
}

} // namespace

Table letters_as_table(const Comparison& comparison) {
    Table table;
    table.title = cat(comparison.backbone, ": which rows differ");
    table.header = {"method"};
    for (const std::string& task : comparison.tasks) table.header.push_back(short_task(task));
    table.header.push_back("average");
    for (const MethodRow& row : comparison.rows) {
        if (row.letters.empty()) continue;
        std::vector<std::string> cells = {row_name(row)};
        auto letters = [&](const std::string& task) {
            auto at = row.letters.find(task);
            return at == row.letters.end() || at->second.empty() ? std::string("-") : at->second;
        };
        for (const std::string& task : comparison.tasks) cells.push_back(letters(task));
        cells.push_back(letters(kAverageLetters));
        table.rows.push_back(cells);
    }
    table.notes = {
        "Rows that share a letter in a column are not shown to differ there; \"a\" holds the best. McNemar's "
        "exact test for 0/1 scores of one seed, else Student's t over the items (averaged over the seeds); "
        "Holm over all pairs of a column, 5 %. It speaks of these trainings: how far other seeds would fall "
        "apart is in the intervals over the seeds."};
    return table;
}

Table accounting_as_table(const Comparison& comparison, const std::vector<RunRecord>& records,
                          const std::vector<PublishedRow>& published) {
    Table table;
    table.title = cat(comparison.backbone, ": parameters");
    table.header = {"method", "trainable", "total", "% of total", "stored", "published %", "agreement"};
    table.align.assign(table.header.size(), Align::right);
    table.align.front() = table.align.back() = Align::left;
    std::set<std::string> sources;
    for (const MethodRow& row : comparison.rows) {
        int64_t stored = 0;
        for (const RunRecord& record : records)
            if (record.id == row.runs.front()) stored = record.stored_bytes;
        std::string printed = "-", verdict = "nothing published for it";
        for (const PublishedRow& one : beside(comparison, row, published))
            if (one.params_percent) {
                printed = fixed(*one.params_percent, 2);
                verdict =
                    percent_verdict(row.trainable, row.total, row.total - row.trainable, *one.params_percent);
                sources.insert(cat(one.source, ", ", one.table));
                break;
            }
        table.rows.push_back({row_name(row), row.trainable > 0 ? with_commas(row.trainable) : "-",
                              row.total > 0 ? with_commas(row.total) : "-",
                              row.total > 0 ? fixed(printed_percent(row.trainable, row.total), 2) : "-",
                              stored > 0 ? human_bytes(static_cast<double>(stored)) : "-", printed, verdict});
    }
    for (const std::string& source : sources) table.notes.push_back("published: " + source);
    return table;
}

Table provenance_as_table(const std::vector<RunRecord>& records) {
    auto [common, differing] = common_settings(records);
    Table table;
    table.header = {
        "run", "method", "rank", "seed", "status", "commit", "device", "started", "settings that differ"};
    for (const RunRecord& record : records) {
        std::vector<std::string> own;
        for (const std::string& key : differing) {
            auto at = record.settings.find(key);
            if (at != record.settings.end() && key != "seed" && key != "adapter.method" &&
                key != "adapter.rank")
                own.push_back(key + "=" + at->second);
        }
        table.rows.push_back({record.id, record.method, record.rank > 0 ? cat(record.rank) : "-",
                              cat(record.seed), record.status, record.commit.substr(0, 12), record.device,
                              record.started, join(own, ", ")});
    }
    table.align.assign(table.header.size(), Align::left);
    return table;
}

Table shared_settings_as_table(const std::vector<RunRecord>& records) {
    Table table;
    table.header = {"setting", "value"};
    table.align.assign(2, Align::left);
    for (const auto& [key, value] : common_settings(records).first) table.rows.push_back({key, value});
    return table;
}

std::vector<ParetoPoint> pareto_of(const Comparison& comparison, const std::vector<RunRecord>& records) {
    std::vector<Runs> groups;
    for (const MethodRow& row : comparison.rows) {
        Runs runs;
        for (const RunRecord& record : records)
            if (record.has_average && std::count(row.runs.begin(), row.runs.end(), record.id))
                runs.push_back(record);
        if (!runs.empty()) groups.push_back(std::move(runs));
    }
    return pareto_points(groups);
}

} // namespace dorabench
