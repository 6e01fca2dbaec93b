// calibrate CONFIG -n N --baseline FILE: how far does a cell move where nothing changed? Each run of the plan
// is repeated under N seeds (initialisation, order of the data, dropout) and evaluated once more in batches
// of another size; the standard deviations go into the baseline file, where `check` takes them as the noise
// floor.
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/cli/execute.h"
#include "harness/cli/names.h"
#include "harness/cli/provenance.h"
#include "harness/compare/gate.h"
#include "harness/report/table.h"
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>

namespace dorabench {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

RunRecord repeat(PlannedRun run, ResultStore& store, BackendCache& backends) {
    run.id = run_identity(run.settings);
    RunFolder folder(run.settings.results, run.id);
    if (execute_run(run, folder, task_catalog(), backends) == RunState::busy_elsewhere)
        throw Error::failed("run ", run.id,
                            " is being worked on by another process; calibrate again afterwards");
    store.index(run.id);
    return read_run(folder.path());
}

// The same adapter: what was trained stands, so that only the evaluation is repeated.
RunRecord repeat_evaluation(PlannedRun run, const RunRecord& trained, ResultStore& store,
                            BackendCache& backends) {
    int64_t& batch = run.settings.evaluate.batch_size;
    batch = batch == 0 ? 3 : batch == 1 ? 2 : (batch + 1) / 2; // 0: auto, which is larger
    RunFolder folder(run.settings.results, run_identity(run.settings));
    std::error_code failed;
    if (!exists(folder.file("train.json")) && exists(trained.path + "/train.json")) {
        fs::copy(trained.path + "/adapter", folder.file("adapter"),
                 fs::copy_options::recursive | fs::copy_options::overwrite_existing, failed);
        if (failed)
            throw Error::resources(folder.file("adapter"),
                                   ": cannot copy the trained adapter: ", failed.message());
        write_file_atomic(folder.file("train.json"), read_file(trained.path + "/train.json"));
    }
    return repeat(std::move(run), store, backends);
}

std::optional<double> primary_value(const RunRecord& run, const std::string& task) {
    auto result = run.tasks.find(task);
    if (result == run.tasks.end()) return std::nullopt;
    auto metric = result->second.metrics.find(result->second.primary);
    if (metric == result->second.metrics.end() || metric->second.missing) return std::nullopt;
    return metric->second.value;
}

json spread_of(const std::vector<RunRecord>& runs, const std::string& task) { // null below two values
    std::vector<double> values;
    json ids = json::array();
    for (const RunRecord& run : runs)
        if (auto value = primary_value(run, task)) {
            values.push_back(*value);
            ids.push_back(run.id);
        }
    if (values.size() < 2) return nullptr;
    double mean = 0, squares = 0, n = static_cast<double>(values.size());
    for (double value : values) mean += value / n;
    for (double value : values) squares += (value - mean) * (value - mean);
    return {{"sd", std::sqrt(squares / (n - 1))}, {"n", values.size()}, {"values", values}, {"runs", ids}};
}

struct Calibrated {
    RunRecord base;
    std::map<std::string, json> noise; // by task
};

Calibrated calibrate(const PlannedRun& planned, int64_t n, ResultStore& store, BackendCache& backends) {
    Calibrated out;
    std::vector<RunRecord> seeds, batches;
    for (int64_t i = 0; i < n; ++i) {
        PlannedRun run = planned;
        run.settings.seed += static_cast<uint64_t>(i);
        seeds.push_back(repeat(std::move(run), store, backends));
        log::info("calibrate: ", i + 1, " of ", n, " seeds");
    }
    out.base = seeds.front();
    batches = {out.base, repeat_evaluation(planned, out.base, store, backends)};
    for (const auto& [task, result] : out.base.tasks) {
        json noise = json::object();
        for (const auto& [source, runs] :
             {std::pair("seed", &seeds), std::pair("evaluation_batch", &batches)})
            if (json spread = spread_of(*runs, task); !spread.is_null()) noise[source] = spread;
        out.noise[task] = noise;
    }
    return out;
}

// Into the cells that the file has; a cell that it lacks is taken in from the calibrated run.
json with_noise(json baseline, const std::vector<Calibrated>& all, const json& provenance) {
    std::vector<RunRecord> bases;
    for (const Calibrated& one : all) bases.push_back(one.base);
    json fresh = make_baseline(bases, baseline, provenance);
    if (!baseline.is_object()) baseline = fresh;
    for (const Calibrated& one : all)
        for (const auto& [task, noise] : one.noise) {
            json* cell = find_cell(baseline, one.base, task);
            if (!cell) {
                baseline["cells"].push_back(*find_cell(fresh, one.base, task));
                cell = &baseline["cells"].back();
            }
            (*cell)["noise_floor"] = noise;
        }
    baseline["provenance"]["calibrated"] = provenance["created"];
    return baseline;
}

void print(const std::vector<Calibrated>& all, const Globals& globals) {
    Table table;
    table.header = {"run", "task", "source", "repeats", "standard deviation"};
    json rows = json::array();
    for (const Calibrated& one : all)
        for (const auto& [task, noise] : one.noise)
            for (const auto& [source, spread] : noise.items()) {
                table.rows.push_back({one.base.id, task, source, spread["n"].dump(),
                                      fixed(100 * spread["sd"].get<double>(), 3)});
                rows.push_back({{"run", one.base.id},
                                {"task", task},
                                {"source", source},
                                {"sd", spread["sd"]},
                                {"n", spread["n"]},
                                {"values", spread["values"]},
                                {"runs", spread["runs"]}});
            }
    if (globals.format == "json")
        std::cout << json{{"schema_version", kSchemaVersion}, {"noise", rows}}.dump(2) << "\n";
    else
        std::cout << render(table, globals.format);
}

} // namespace

int calibrate_command(const CalibrateOptions& options, const Globals& globals) {
    ConfigFile config = load_experiment(options, globals);
    RunPlan plan = make_plan(config, globals.registries->backends, known_names(*globals.registries));
    for (const PlannedRun& run : plan.runs)
        if (run.settings.evaluate.limit > 0 || run.settings.evaluate.tasks.empty())
            throw Error::config(options.config,
                                ": calibrate needs evaluate.tasks, and evaluate.limit at 0: a part of "
                                "the test set has another noise floor than the whole");
    json baseline; // read first: a damaged file must not cost five trainings
    if (exists(options.baseline)) baseline = read_baseline(options.baseline);
    watch_stop_signals();
    ResultStore store(plan.runs.front().settings.results);
    BackendCache backends(*globals.registries);
    std::vector<Calibrated> all;
    for (const PlannedRun& run : plan.runs) all.push_back(calibrate(run, options.n, store, backends));
    json provenance = {{"created", utc_now()},
                       {"version", version()},
                       {"commit", commit()},
                       {"host", host_description()},
                       {"libtorch", libtorch_version()}};
    json out = with_noise(std::move(baseline), all, provenance);
    write_file_atomic(options.baseline, out.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
    print(all, globals);
    log::info("noise floors: ", options.baseline);
    return 0;
}

} // namespace dorabench
