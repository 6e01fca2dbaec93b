// run (and sweep): plan, train, evaluate, record, print the table, write the report. Run again after any
// interruption, it finishes what is missing and repeats nothing.
#include "harness/base/env.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/cli/execute.h"
#include "harness/cli/names.h"
#include "harness/compare/letters.h"
#include "harness/page/page.h"
#include "harness/report/comparison.h"
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

extern char** environ;

namespace dorabench {
namespace {

using nlohmann::json;

void print_plan(const RunPlan& plan, const Globals& globals) {
    if (globals.format == "json") {
        json runs = json::array();
        for (const PlannedRun& run : plan.runs) {
            json axes = json::object();
            for (const Assignment& axis : run.assignments) axes[axis.key] = axis.yaml;
            runs.push_back({{"id", run.id},
                            {"method", run.settings.adapter.method},
                            {"rank", run.settings.adapter.rank},
                            {"seed", run.settings.seed},
                            {"axes", axes},
                            {"trainable", run.count.trainable},
                            {"total", run.count.base + run.count.added},
                            {"memory_bytes", run.memory.total()}});
        }
        std::cout << json{{"name", plan.name}, {"runs", runs}}.dump(2) << "\n";
        return;
    }
    Table table;
    table.header = {"run", "method", "rank", "seed", "trainable", "% of total", "memory", "state"};
    for (const PlannedRun& run : plan.runs) {
        const RunSettings& settings = run.settings;
        int64_t total = run.count.base + run.count.added;
        bool ranked = settings.adapter.method != "ft" && settings.adapter.method != "none";
        table.rows.push_back(
            {run.id, settings.adapter.method, ranked ? cat(settings.adapter.rank) : "-", cat(settings.seed),
             with_commas(run.count.trainable),
             fixed(total ? 100.0 * static_cast<double>(run.count.trainable) / static_cast<double>(total) : 0,
                   4),
             human_bytes(static_cast<double>(run.memory.total())),
             exists(settings.results + "/runs/" + run.id + "/metrics.json") ? "begun" : "to do"});
    }
    std::cout << plan.name << ": " << plan.runs.size() << (plan.runs.size() == 1 ? " run\n" : " runs\n")
              << render(table, "text");
}

// --jobs: N processes work through the same plan; the locks on the run folders share it out, and each maps
// the same frozen weights. Threads are divided among them.
void run_workers(const RunOptions& options, const Globals& globals) {
    int cores = globals.threads > 0 ? globals.threads
                                    : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    std::string threads = cat(std::max(1, cores / options.jobs));
    std::vector<std::string> words = {executable_folder() + "/dora-bench",
                                      "--quiet",
                                      "--no-progress",
                                      "--threads",
                                      threads,
                                      "run",
                                      options.config,
                                      "--no-report"};
    for (const std::string& axis : options.axes) {
        words.push_back("--axis");
        words.push_back(axis);
    }
    for (const std::string& override_ : options.overrides) words.push_back(override_);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::vector<pid_t> children;
    for (int job = 0; job < options.jobs; ++job) {
        pid_t child = 0;
        if (posix_spawn(&child, argv[0], nullptr, nullptr, argv.data(), environ) != 0)
            throw Error::resources("--jobs: cannot start ", words[0]);
        children.push_back(child);
    }
    for (pid_t child : children) {
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            if (stop_requests() > 0)
                for (pid_t other : children) kill(other, SIGINT);
    }
    if (stop_requests() > 0) throw Error(ErrorKind::interrupted, "interrupted; the same command goes on");
}

struct Failure {
    std::string id, what;
    ErrorKind kind;
};

// Works through runs of a plan; what fails is kept and the next one goes on.
class PlanExecutor {
public:
    PlanExecutor(const RunPlan& plan, const Globals& globals, ResultStore& store)
        : plan_(plan), store_(store), backends_(*globals.registries) {}

    void all() {
        if (plan_.sweep.select) return selections();
        for (const PlannedRun& run : plan_.runs) {
            attempt(run,
                    [&](RunFolder& folder) { return execute_run(run, folder, task_catalog(), backends_); });
            log::info("finished ", ++finished_, " of ", plan_.runs.size(), " runs");
        }
    }

    std::vector<Failure> failures;
    int busy = 0;

private:
    using Group =
        std::map<std::string, std::vector<const PlannedRun*>>; // by value on the axis; seeds together

    template <typename Work>
    void attempt(const PlannedRun& run, Work work) {
        try {
            RunFolder folder(run.settings.results, run.id);
            RunState state = work(folder);
            busy += state == RunState::busy_elsewhere;
            if (state == RunState::skipped_done) log::info("run ", run.id, ": done before");
            if (state == RunState::busy_elsewhere) return;
        } catch (const Error& error) {
            store_.index(run.id);
            if (error.kind() == ErrorKind::interrupted) throw;
            failures.push_back({run.id, error.what(), error.kind()});
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
            attempt(run, [&](RunFolder& folder) {
                return train_candidate(run, folder, task_catalog(), backends_);
            });
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
                    if (value == selection.winner)
                        return execute_run(*run, folder, task_catalog(), backends_, &selection);
                    record_not_selected(folder, selection);
                    return RunState::done;
                });
    }

    const RunPlan& plan_;
    ResultStore& store_;
    BackendCache backends_;
    size_t finished_ = 0;
};

int finish(const RunPlan& plan, const std::vector<Failure>& failures, int busy, ResultStore& store,
           const RunOptions& options, const Globals& globals) {
    std::vector<RunRecord> records;
    for (const PlannedRun& run : plan.runs) records.push_back(read_run(store.path() + "/runs/" + run.id));
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
    for (const Failure& failure : failures)
        std::cerr << "error: run " << failure.id << ": " << failure.what << "\n";
    if (!failures.empty()) return plan.runs.size() == 1 ? exit_code(failures.front().kind) : 5;
    if (busy > 0) {
        log::info(busy, " runs are being worked on by another process");
        return plan.runs.size() == 1 ? 0 : 5;
    }
    return 0;
}

} // namespace

int run_command(const RunOptions& options, const Globals& globals) {
    ConfigFile config = ConfigFile::load(options.config, options.overrides, options.axes);
    RunPlan plan = make_plan(config, globals.registries->backends, known_names(*globals.registries));
    if (options.dry_run) {
        print_plan(plan, globals);
        return 0;
    }
    watch_stop_signals();
    ResultStore store(plan.runs.front().settings.results);
    if (options.jobs > 1) run_workers(options, globals);
    PlanExecutor executor(plan, globals, store);
    executor.all();
    return finish(plan, executor.failures, executor.busy, store, options, globals);
}

int eval_command(const EvalOptions& options, const Globals& globals) {
    ConfigFile config = ConfigFile::load(options.config, options.overrides);
    RunPlan plan = make_plan(config, globals.registries->backends, known_names(*globals.registries));
    if (plan.runs.size() != 1)
        throw Error::config(options.config, ": eval takes one run, this plan has ", plan.runs.size());
    PlannedRun& run = plan.runs.front();
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
    PlanExecutor executor(plan, globals, store);
    executor.all();
    return finish(plan, executor.failures, executor.busy, store, RunOptions{}, globals);
}

} // namespace dorabench
