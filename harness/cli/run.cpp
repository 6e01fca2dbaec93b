// run (and sweep): plan, train, evaluate, record, print the table, write the report. Run again after any
// interruption, it finishes what is missing and repeats nothing.
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "harness/base/text.h"
#include "harness/cli/execute.h"
#include "harness/cli/launch.h"
#include "harness/cli/names.h"
#include "harness/cli/time_estimate.h"
#include "harness/compare/letters.h"
#include "harness/page/page.h"
#include "harness/report/comparison.h"
#include "harness/report/table.h"
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

namespace dorabench {
namespace {

using nlohmann::json;

void print_plan(const RunPlan& plan, const Globals& globals) {
    TimeEstimate time(task_catalog());
    if (globals.format == "json") {
        json runs = json::array();
        for (const PlannedRun& run : plan.runs) {
            json axes = json::object();
            const std::optional<double> seconds = time.training_seconds(run);
            for (const Assignment& axis : run.assignments) axes[axis.key] = axis.yaml;
            runs.push_back({{"id", run.id},
                            {"method", run.settings.adapter.method},
                            {"rank", run.settings.adapter.rank},
                            {"seed", run.settings.seed},
                            {"axes", axes},
                            {"trainable", run.count.trainable},
                            {"total", run.count.base + run.count.added},
                            {"memory_bytes", run.memory.total()},
                            {"train_seconds_estimate", seconds ? json(*seconds) : json()}});
        }
        std::cout << json{{"name", plan.name}, {"runs", runs}}.dump(2) << "\n";
        return;
    }
    Table table;
    table.header = {"run",        "method", "rank",     "seed", "trainable",
                    "% of total", "memory", "training", "state"};
    for (const PlannedRun& run : plan.runs) {
        const RunSettings& settings = run.settings;
        int64_t total = run.count.base + run.count.added;
        const std::optional<double> seconds = time.training_seconds(run);
        bool ranked = settings.adapter.method != "ft" && settings.adapter.method != "none";
        table.rows.push_back(
            {run.id, settings.adapter.method, ranked ? cat(settings.adapter.rank) : "-", cat(settings.seed),
             with_commas(run.count.trainable),
             fixed(total ? 100.0 * static_cast<double>(run.count.trainable) / static_cast<double>(total) : 0,
                   4),
             human_bytes(static_cast<double>(run.memory.total())),
             seconds ? cat("about ", human_seconds(*seconds)) : "-",
             exists(settings.results + "/runs/" + run.id + "/metrics.json") ? "begun" : "to do"});
    }
    table.notes.push_back(
        "training: the steps' operations, every row max_length tokens long, at the speed of "
        "a matrix product measured just now; -: not known before the data is there");
    std::cout << plan.name << ": " << plan.runs.size() << (plan.runs.size() == 1 ? " run\n" : " runs\n")
              << render(table, "text");
}

struct Failure {
    std::string id, what;
    int code;
};

// A candidate that lost a selection was never scored on the test set, and is not without being asked for.
void refuse_peek(const std::string& run_folder) {
    const RunRecord record = read_run(run_folder);
    if (record.status == "not selected")
        throw Error::config("run ", record.id, " must not be scored on the test set: ", record.error,
                            "; --allow-peek does it all the same, and the run's record counts it");
}

double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// A failure that another process of this same command recorded: not tried again by this one.
std::optional<Failure> failed_since(const RunFolder& folder, double started) {
    struct stat found;
    if (stat(folder.file("metrics.json").c_str(), &found) != 0) return std::nullopt;
    if (double(found.st_mtim.tv_sec) + 1e-9 * double(found.st_mtim.tv_nsec) < started) return std::nullopt;
    const std::optional<json> metrics = folder.read_json("metrics.json");
    if (!metrics || !metrics->is_object() || metrics->value("status", "") != "failed") return std::nullopt;
    return Failure{folder.id(), metrics->value("error", ""),
                   metrics->value("exit_code", exit_code(ErrorKind::failed))};
}

// Works through runs of a plan; what fails is kept and the next one goes on.
class PlanExecutor {
public:
    // started: when the command began; peers: the processes that train each run together, or null
    PlanExecutor(const RunPlan& plan, const Globals& globals, ResultStore& store, double started,
                 Peers* peers = nullptr, bool allow_peek = false)
        : plan_(plan), store_(store), backends_(*globals.registries), started_(started), peers_(peers),
          allow_peek_(allow_peek) {}

    void all() {
        if (plan_.sweep.select) return selections();
        for (const PlannedRun& run : plan_.runs) {
            one(run);
            log::info("finished ", ++finished_, " of ", plan_.runs.size(), " runs");
        }
    }

    // One run as it stands; of a selection's candidates, trained alone.
    void one(const PlannedRun& run) {
        attempt(run, [&](RunFolder& folder) {
            if (!plan_.sweep.select && !allow_peek_) refuse_peek(folder.path());
            return plan_.sweep.select
                       ? train_candidate(run, folder, task_catalog(), backends_, together(run))
                       : execute_run(run, folder, task_catalog(), backends_, nullptr, together(run));
        });
    }

    std::vector<Failure> failures;
    int busy = 0;

private:
    Together together(const PlannedRun& run) {
        if (!peers_) return {};
        return {peers_, [this, &run] { peers_->from_first(&run - plan_.runs.data()); }};
    }

    using Group =
        std::map<std::string, std::vector<const PlannedRun*>>; // by value on the axis; seeds together

    template <typename Work>
    void attempt(const PlannedRun& run, Work work) {
        try {
            RunFolder folder(run.settings.results, run.id);
            if (std::optional<Failure> failure = failed_since(folder, started_)) {
                failures.push_back(*failure);
                return;
            }
            RunState state = work(folder);
            busy += state == RunState::busy_elsewhere;
            if (state == RunState::skipped_done) log::info("run ", run.id, ": done before");
            if (state == RunState::busy_elsewhere) return;
        } catch (const Error& error) {
            store_.index(run.id);
            if (error.kind() == ErrorKind::interrupted) throw;
            failures.push_back({run.id, error.what(), exit_code(error.kind())});
            backends_.drop();
            return;
        }
        store_.index(run.id);
    }

    // Every candidate is trained; then, in each group, the winner on the held-out examples alone is
    // evaluated.
    void selections() {
        std::map<std::string, Group> groups;
        for (const PlannedRun& run : plan_.runs) {
            one(run);
            log::info("trained ", ++finished_, " of ", plan_.runs.size(), " candidates");
            groups[run.select_group][run.select_value].push_back(&run);
        }
        if (busy > 0) return; // the process that trains the others, or the same command again, chooses
        for (const auto& [name, group] : groups) settle(name, group);
    }

    void settle(const std::string& name, const Group& group) {
        Selection selection{plan_.sweep.select->over, plan_.sweep.select->by, "", {}};
        double best = 0;
        for (const auto& [value, runs] : group) {
            Selection::Candidate candidate{value, 0, {}, false};
            size_t trained = 0;
            for (const PlannedRun* run : runs) {
                RunFolder folder(run->settings.results, run->id);
                candidate.runs.push_back(run->id);
                candidate.tested = candidate.tested || folder.finished();
                if (std::optional<double> loss = candidate_loss(folder)) {
                    candidate.validation_loss += *loss / static_cast<double>(runs.size());
                    ++trained;
                }
            }
            if (trained < runs.size()) {
                log::warning(name, ": ", selection.over, "=", value,
                             " did not finish training and is no candidate");
                continue;
            }
            if (selection.winner.empty() || candidate.validation_loss < best) {
                selection.winner = value;
                best = candidate.validation_loss;
            }
            selection.candidates.push_back(std::move(candidate));
        }
        if (selection.winner.empty()) return;
        for (Selection::Candidate& candidate : selection.candidates)
            candidate.tested = candidate.tested || candidate.value == selection.winner;
        log::info(name, ": ", selection.over, "=", selection.winner, " wins by validation loss ", best,
                  "; the test set is scored for it alone");
        for (const auto& [value, runs] : group)
            for (const PlannedRun* run : runs)
                attempt(*run, [&](RunFolder& folder) {
                    RunState state = RunState::done;
                    if (value == selection.winner)
                        state =
                            execute_run(*run, folder, task_catalog(), backends_, &selection, together(*run));
                    if (value != selection.winner || state == RunState::skipped_done)
                        record_selection(folder, selection);
                    return state;
                });
    }

    const RunPlan& plan_;
    ResultStore& store_;
    BackendCache backends_;
    double started_;
    Peers* peers_;
    bool allow_peek_;
    size_t finished_ = 0;
};

constexpr int64_t kPlanDone = -1; // in place of a run's number, to the processes that help

// The processes other than the first: they train what process 0 names, until the plan is done.
int help(const RunPlan& plan, const Globals& globals, Peers& peers) {
    log::set_level(log::Level::warning); // process 0 tells the rest
    set_progress_enabled(false);
    BackendCache backends(*globals.registries);
    int code = 0;
    for (int64_t number; (number = peers.from_first(0)) != kPlanDone;) {
        try {
            assist_run(plan.runs.at(static_cast<size_t>(number)), task_catalog(), backends, peers);
        } catch (const Error& error) { // process 0 records it and goes on with the next run
            if (error.kind() == ErrorKind::interrupted) throw;
            log::error(error.what());
            backends.drop();
            code = 5;
        }
    }
    return code;
}

int finish(const RunPlan& plan, const std::vector<Failure>& failures, int busy, ResultStore& store,
           const RunOptions& options, const Globals& globals) {
    std::vector<RunRecord> records;
    for (const PlannedRun& run : plan.runs)
        records.push_back(read_run(store.path() + "/runs/" + run.id, options.allow_peek));
    if (!options.no_report) {
        std::vector<Comparison> comparisons = lettered_comparisons(records);
        std::cout << comparison_text(comparisons, globals.format == "json" ? "json" : "text");
        if (globals.format != "json" && !globals.quiet) {
            std::string report = store.path() + "/report.html";
            write_file_atomic(report, report_page(records));
            write_file_atomic(store.path() + "/report.md", comparison_text(comparisons, "markdown"));
            std::cout << "\nreport: " << report << "\nruns:   " << store.path() << "/runs\n";
        }
    }
    const bool helper = options.started > 0; // the command that it works for lists the failures
    for (const Failure& failure : failures)
        if (!helper) std::cerr << "error: run " << failure.id << ": " << failure.what << "\n";
    if (plan.runs.size() > 1 && !failures.empty() && !helper)
        std::cerr << failures.size() << " of " << plan.runs.size()
                  << " runs failed; the same command runs them again\n";
    if (!failures.empty()) return plan.runs.size() == 1 ? failures.front().code : 5;
    if (busy > 0) {
        log::info(busy, " runs are being worked on by another process");
        return plan.runs.size() == 1 ? 0 : 5;
    }
    return 0;
}

} // namespace

int run_command(const RunOptions& options_given, const Globals& globals) {
    RunOptions options = options_given;
    if (!options.select.empty()) options.overrides.push_back("select.over=" + options.select);
    ConfigFile config = load_experiment(options, globals, options.axes);
    RunPlan plan = make_plan(config, globals.registries->backends, known_names(*globals.registries));
    if (options.dry_run) {
        print_plan(plan, globals);
        return 0;
    }
    watch_stop_signals();
    RunOptions given = options;
    if (given.started <= 0) given.started = now();
    int code = 0;
    if (options.launcher == "slurm" && submit_to_slurm(plan, given, globals, code)) return code;
    if (options.launcher == "torchrun" && !launched_by_another()) return run_together(given, globals);
    std::unique_ptr<Peers> peers;
    if (options.launcher == "torchrun") peers = std::make_unique<Peers>(Peers::place_from_environment());
    if (peers && peers->rank() > 0) return help(plan, globals, *peers);
    ResultStore store(plan.runs.front().settings.results);
    if (options.launcher == "local" && options.jobs > 1) run_workers(given, globals);
    PlanExecutor executor(plan, globals, store, given.started, peers.get(), options.allow_peek);
    if (options.entry < 0) {
        executor.all();
    } else if (options.entry < static_cast<int64_t>(plan.runs.size())) {
        executor.one(plan.runs[static_cast<size_t>(options.entry)]);
    } else {
        throw Error::config("--entry: expected 0 to ", plan.runs.size() - 1, ", got ", options.entry);
    }
    if (peers) peers->from_first(kPlanDone);
    return finish(plan, executor.failures, executor.busy, store, options, globals);
}

int eval_command(const EvalOptions& options, const Globals& globals) {
    ConfigFile config = load_experiment(options, globals);
    RunPlan plan = make_plan(config, globals.registries->backends, known_names(*globals.registries));
    if (plan.runs.size() != 1)
        throw Error::config(options.config, ": eval takes one run, this plan has ", plan.runs.size());
    PlannedRun& run = plan.runs.front();
    if (!options.adapter.empty() && !options.allow_peek) {
        const std::filesystem::path adapter =
            std::filesystem::absolute(options.adapter + "/").lexically_normal();
        refuse_peek(adapter.parent_path().parent_path().string());
    }
    run.settings.train.data.clear();
    if (options.adapter.empty()) {
        run.settings.adapter = AdapterSettings{};
    } else {
        run.settings.adapter = read_adapter_settings(options.adapter);
        run.settings.adapter.init = options.adapter;
    }
    run.count = count_adapter(run.shapes, run.settings.adapter);
    run.id = run_identity(run.settings);
    watch_stop_signals();
    ResultStore store(run.settings.results);
    PlanExecutor executor(plan, globals, store, now());
    executor.all();
    return finish(plan, executor.failures, executor.busy, store, RunOptions{}, globals);
}

} // namespace dorabench
