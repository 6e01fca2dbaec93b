// show: one run: its settings, self-checks, metrics, steps and some samples.
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "harness/report/table.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;
constexpr size_t kSamples = 3;

json read_json(const std::string& path) {
    if (!exists(path)) return nullptr;
    json out = json::parse(read_file(path), nullptr, false);
    return out.is_discarded() ? json() : out;
}

double number(const json& line, const char* key) {
    auto at = line.find(key);
    return at != line.end() && at->is_number() ? at->get<double>() : 0;
}

json steps_summary(const std::string& path) {
    if (!exists(path)) return nullptr;
    int64_t count = 0;
    double tokens = 0, seconds = 0;
    json first, last;
    for_each_line(path, [&](size_t, std::string_view text) {
        json line = json::parse(text, nullptr, false);
        if (!line.is_object()) return; // a line cut off by a crash
        if (first.is_null()) first = line;
        tokens += number(line, "tokens");
        seconds += number(line, "seconds");
        last = std::move(line);
        ++count;
    });
    if (count == 0) return nullptr;
    return {{"count", count},     {"first", first},
            {"last", last},       {"tokens", tokens},
            {"seconds", seconds}, {"tokens_per_second", seconds > 0 ? json(tokens / seconds) : json()}};
}

json some_samples(const std::string& folder) {
    json out = json::object();
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
        if (entry.path().extension() != ".jsonl") continue;
        json samples = json::array();
        for_each_line(entry.path().string(), [&](size_t, std::string_view text) {
            if (samples.size() >= kSamples) return;
            json line = json::parse(text, nullptr, false);
            if (line.is_object()) samples.push_back(std::move(line));
        });
        out[entry.path().stem().string()] = samples;
    }
    return out;
}

std::string plain(const json& value) {
    return value.is_string() ? value.get<std::string>()
                             : value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string shortened(std::string text, size_t width) {
    text = replace_all(std::move(text), "\n", "⏎");
    if (text.size() <= width) return text;
    while (width > 0 && (static_cast<unsigned char>(text[width]) & 0xc0) == 0x80)
        --width; // not within a character
    return text.substr(0, width) + "…";
}

void print_checks(const json& checks) {
    if (!checks.is_object() || checks.empty()) return;
    Table table{.title = "self-checks", .header = {"check", "status", "value", "message"}};
    table.align = {Align::left, Align::left, Align::right, Align::left};
    auto field = [](const json& check, const char* key) {
        return check.is_object() && check.contains(key) ? plain(check[key]) : "";
    };
    for (const auto& [name, check] : checks.items())
        table.rows.push_back({name, check.is_string() ? plain(check) : field(check, "status"),
                              field(check, "value"), field(check, "message")});
    std::cout << "\n" << render(table, "text");
}

void print_metrics(const RunRecord& run) {
    if (run.tasks.empty()) return;
    Table table{.title = "metrics", .header = {"task", "metric", "value", "95 %", "n", "unparsed", "chance"}};
    table.align = {Align::left, Align::left};
    for (const auto& [task, result] : run.tasks)
        for (const auto& [name, metric] : result.metrics) {
            bool low = result.has_chance && name == result.primary && metric.value < result.chance;
            table.rows.push_back(
                {task, name, metric.missing ? "-" : (low ? "!" : "") + fixed(metric.value, 4),
                 metric.missing ? "-" : cat(fixed(metric.ci_low, 4), " to ", fixed(metric.ci_high, 4)),
                 cat(metric.n), cat(result.unparsed), result.has_chance ? fixed(result.chance, 4) : "-"});
        }
    std::cout << "\n" << render(table, "text");
    if (run.has_average) std::cout << "average " << fixed(run.average, 4) << "\n";
}

void print_samples(const json& samples) {
    for (const auto& [task, lines] : samples.items()) {
        std::cout << "\nsamples of " << task << "\n";
        for (const json& line : lines)
            for (const char* key :
                 {"id", "prompt", "target", "prediction", "raw_output", "parsed", "correct", "score"})
                if (line.contains(key))
                    std::cout << (std::string(key) == "id" ? "- " : "  ") << key << ": "
                              << shortened(plain(line[key]), 160) << "\n";
    }
}

void print_text(const RunRecord& run, const json& metrics, const json& steps, const json& samples) {
    std::cout << "run " << run.id << ": " << run.status << (run.partial ? " (partial)" : "") << "\n";
    if (!run.error.empty()) std::cout << "reason: " << run.error << "\n";
    std::cout << "folder " << run.path << "\n";
    if (!run.started.empty())
        std::cout << "started " << run.started << " on " << run.device << ", commit " << run.commit << "\n";
    if (run.total > 0)
        std::cout << "trainable " << with_commas(run.trainable) << " of " << with_commas(run.total) << " ("
                  << fixed(run.percent_of_total, 4) << " %), stored "
                  << human_bytes(static_cast<double>(run.stored_bytes)) << "\n";
    std::cout << "\nsettings\n";
    for (const auto& [key, value] : run.settings) std::cout << "  " << key << ": " << value << "\n";
    print_checks(metrics.is_object() && metrics.contains("checks") ? metrics["checks"] : json());
    if (!steps.is_null()) {
        std::cout << "\nsteps " << steps["count"] << ", loss " << fixed(number(steps["first"], "loss"), 4)
                  << " to " << fixed(number(steps["last"], "loss"), 4) << ", "
                  << human_seconds(number(steps, "seconds"));
        if (steps["tokens_per_second"].is_number())
            std::cout << ", " << fixed(number(steps, "tokens_per_second"), 1) << " tokens/s";
        std::cout << "\n";
    }
    print_metrics(run);
    print_samples(samples);
}

} // namespace

int show_command(const std::string& wanted, const std::string& results, bool allow_peek,
                 const Globals& globals) {
    std::optional<RunRecord> run = find_run(results, wanted, allow_peek);
    if (!run) {
        std::vector<std::string> known;
        for (const RunRecord& one : read_runs(results)) {
            known.push_back(one.id);
            known.push_back(one.name);
        }
        throw Error::config(results, ": no run is called \"", wanted, "\"", did_you_mean(wanted, known),
                            "; `list runs` names them all");
    }
    json metrics = read_json(run->path + "/metrics.json"), steps = steps_summary(run->path + "/steps.jsonl");
    json samples = some_samples(run->path + "/samples");
    if (run->status == "not selected") { // what it may have answered before the choice is withheld
        samples = json::object();
        if (metrics.is_object()) metrics["tasks"] = json::object(), metrics["average"] = nullptr;
    }
    if (globals.format == "json") {
        json out = {{"schema_version", kSchemaVersion},
                    {"run", run->id},
                    {"path", run->path},
                    {"status", run->status},
                    {"settings", run->settings},
                    {"metrics", metrics},
                    {"provenance", read_json(run->path + "/provenance.json")},
                    {"steps", steps},
                    {"samples", samples}};
        std::cout << out.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
    } else {
        print_text(*run, metrics, steps, samples);
    }
    return 0;
}

} // namespace dorabench
