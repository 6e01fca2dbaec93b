// doctor: what this program, machine and configuration have, and whether answers depend on how they are asked
// for.
#include "backends/io/safetensors.h"
#include "backends/io/tokenizer.h"
#include "backends/ops/device.h"
#include "harness/base/env.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/cli/names.h"
#include "harness/cli/provenance.h"
#include "harness/plan/plan.h"
#include "harness/report/table.h"
#include "tasks/contamination.h"
#include <ATen/Parallel.h>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace dorabench {
namespace {

using nlohmann::json;
constexpr double kFloat32Tolerance = 1e-4; // of a log-likelihood of some tens of tokens

struct Finding {
    std::string what, state, detail; // state: ok | warning | failed | info
    ErrorKind kind = ErrorKind::failed;
};

struct Report {
    std::vector<Finding> findings;
    void add(const std::string& what, const std::string& state, const std::string& detail,
             ErrorKind kind = ErrorKind::failed) {
        findings.push_back({what, state, detail, kind});
    }
    // Runs f, which gives the detail; what it throws is the finding.
    template <typename F>
    void check(const std::string& what, const F& f) {
        try {
            add(what, "ok", f());
        } catch (const Error& error) {
            add(what, "failed", error.what(), error.kind());
        }
    }
};

std::string free_space(const std::string& path) {
    std::error_code failed;
    std::filesystem::path at = std::filesystem::absolute(path, failed);
    while (!std::filesystem::exists(at, failed) && at.has_relative_path()) at = at.parent_path();
    auto space = std::filesystem::space(at, failed);
    return failed ? "unknown" : human_bytes(static_cast<double>(space.available)) + " free at " + at.string();
}

void look_at_program(Report& report) {
    report.add("dora-bench", "info", version() + ", commit " + commit());
    report.add("LibTorch", "info", libtorch_version());
    report.add("host", "info", host_description());
    report.add("threads", "info", cat(at::get_num_threads()));
    report.add("memory", "info", human_bytes(static_cast<double>(available_memory_bytes())) + " available");
    std::string missing = load_cuda();
    report.add("CUDA", "info",
               missing.empty() ? cat(cuda_device_count(), " devices") : "not used: " + missing);
    report.check("share folder", [] {
        for (const char* part : {"specs", "configs"})
            if (!is_folder(share_folder() + "/" + part))
                throw Error::data(share_folder(), ": expected the folder ", part,
                                  "; build or install the program anew");
        return share_folder();
    });
    report.check("task specs", [] { return cat(task_catalog().tasks().size(), " tasks"); });
}

// What of a test set stands in the training data, as counts: it is for the user to judge.
void report_contamination(const std::string& task, const Contamination& found, Report& report) {
    std::string detail = cat(found.exact, " of ", found.items, " items stand whole in the training data, ", found.ngram13,
                             " share 13 words in a row with it");
    if (!found.first.empty()) detail += " (first: " + join(found.first, ", ") + ")";
    report.add("contamination " + task, found.ngram13 > 0 ? "warning" : "ok", detail);
}

void look_at_data(const RunSettings& settings, Report& report) {
    ContaminationScan scan;
    TaskOptions options;
    options.data_dir = settings.data_dir;
    options.template_name = settings.train.template_name;
    for (const DataSource& source : settings.train.data)
        report.check("training data " + source.name, [&] {
            std::vector<TrainingPair> pairs = task_catalog().training_pairs(source.name, options);
            for (const TrainingPair& pair : pairs) scan.add_training(pair);
            return cat(pairs.size(), " examples");
        });
    options.mode = settings.evaluate.mode;
    options.template_name = settings.evaluate.template_name;
    for (const std::string& name : settings.evaluate.tasks) {
        std::unique_ptr<Task> task;
        report.check("task " + name, [&] {
            task = task_catalog().make(name, options);
            return cat(task->examples().size(), " examples");
        });
        bool readable = report.findings.back().state == "ok";
        if (readable && !settings.train.data.empty()) report_contamination(name, scan.scan(task->examples()), report);
    }
}

void look_at_checkpoint(const RunSettings& settings, Report& report) {
    if (settings.backend.checkpoint.empty()) return;
    report.check("checkpoint", [&] {
        std::string folder = resolve_checkpoint(settings.backend.checkpoint);
        Checkpoint checkpoint = Checkpoint::open(folder);
        return cat(folder, ", ", checkpoint.tensors().size(), " tensors in ", checkpoint.files().size(),
                   " files");
    });
    report.check("tokenizer", [&]() -> std::string {
        std::string place = settings.backend.tokenizer.empty()
                                ? resolve_checkpoint(settings.backend.checkpoint)
                                : settings.backend.tokenizer;
        if (settings.backend.tokenizer.empty() && !has_tokenizer(place))
            return "none in the checkpoint: ready-made ids only";
        return cat(load_tokenizer(place)->vocab_size(), " tokens");
    });
}

// Score requests of several lengths: in one padded batch the short ones get the most padding.
std::vector<Request> probe_requests(int64_t vocab) {
    std::vector<Request> requests;
    for (int64_t i = 0; i < 6; ++i) {
        Request request;
        request.kind = Request::Kind::score;
        request.id = cat(i);
        request.has_ids = true;
        for (int64_t t = 0; t < 3 + 5 * i; ++t) request.context_ids.push_back((3 + 31 * i + 7 * t) % vocab);
        for (int64_t t = 0; t < 4; ++t) request.continuation_ids.push_back((5 + 13 * i + 11 * t) % vocab);
        requests.push_back(std::move(request));
    }
    return requests;
}

std::vector<Response> answers(Backend& backend, const std::vector<Request>& requests, int64_t batch_size) {
    std::vector<Response> out(requests.size());
    backend.respond(requests, batch_size,
                    [&](size_t i, Response response) { out.at(i) = std::move(response); });
    return out;
}

// Likelihoods at batch 1 and 6, and greedy decoding (with the cache) against greedy flags of scoring (without
// one).
void look_at_invariance(const RunSettings& settings, const Globals& globals, Report& report) {
    report.check("invariance", [&] {
        auto backend =
            globals.registries->backends.get(settings.backend.type).load(settings.backend, settings.seed);
        backend->set_training(false);
        int64_t vocab = std::max<int64_t>(16, backend->shapes().vocab);
        std::vector<Request> scores = probe_requests(vocab);
        std::vector<Response> one = answers(*backend, scores, 1),
                              many = answers(*backend, scores, static_cast<int64_t>(scores.size()));
        double worst = 0;
        int64_t flips = 0;
        for (size_t i = 0; i < one.size(); ++i) {
            worst = std::max(worst, std::abs(one[i].loglikelihood - many[i].loglikelihood));
            flips += one[i].is_greedy != many[i].is_greedy;
        }
        std::vector<Request> prompts = scores;
        for (Request& request : prompts) {
            request.kind = Request::Kind::generate;
            request.continuation_ids.clear();
            request.generate.max_new_tokens = 6;
            request.generate.eos_set = true;
        }
        std::vector<Response> cached = answers(*backend, prompts, 1),
                              batched = answers(*backend, prompts, static_cast<int64_t>(prompts.size()));
        for (size_t i = 0; i < prompts.size(); ++i) {
            flips += cached[i].ids != batched[i].ids;
            scores[i].continuation_ids =
                cached[i].ids; // what the cache decoded must be what one pass without it prefers
        }
        for (const Response& whole : answers(*backend, scores, 1)) flips += !whole.is_greedy;
        std::string found = cat("batch 1 against 6, and the cache: ", flips, " of ", 3 * one.size(),
                                " answers flipped, largest difference of a log-likelihood ", worst);
        if (settings.backend.dtype == "float32" && (flips > 0 || worst > kFloat32Tolerance))
            throw Error::check(found, "; none and at most ", kFloat32Tolerance, " expected in float32");
        return found;
    });
}

int print(const Report& report, const Globals& globals) {
    Table table{.header = {"what", "state", "detail"}};
    table.align = {Align::left, Align::left, Align::left};
    json rows = json::array();
    int code = 0;
    for (const Finding& finding : report.findings) {
        table.rows.push_back({finding.what, finding.state, finding.detail});
        rows.push_back({{"what", finding.what}, {"state", finding.state}, {"detail", finding.detail}});
        if (finding.state == "failed" && code == 0) code = exit_code(finding.kind);
    }
    if (globals.format == "json")
        std::cout << rows.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
    else
        std::cout << render(table, globals.format, {.color = terminal_options().color});
    return code;
}

} // namespace

int doctor_command(const ConfigOptions& options, const Globals& globals) {
    Report report;
    look_at_program(report);
    if (options.config.empty()) {
        report.add("disk", "info", free_space("."));
        return print(report, globals);
    }
    ConfigFile config = load_experiment(options, globals);
    RunPlan plan = make_plan(config, globals.registries->backends, known_names(*globals.registries));
    const PlannedRun& run = plan.runs.front();
    report.add("configuration", "ok",
               cat(plan.name, ": ", plan.runs.size(), plan.runs.size() == 1 ? " run" : " runs"));
    report.add("disk", "info", free_space(run.settings.results));
    int64_t needed = run.memory.total(), available = available_memory_bytes();
    bool on_cpu = run.settings.backend.device == "cpu" || cuda_device_count() == 0;
    report.add("memory of a step", on_cpu && needed > available ? "warning" : "ok",
               cat(human_bytes(static_cast<double>(needed)), " estimated"));
    look_at_checkpoint(run.settings, report);
    look_at_data(run.settings, report);
    bool checkpoint_failed = false;
    for (const Finding& finding : report.findings)
        checkpoint_failed = checkpoint_failed || (finding.what == "checkpoint" && finding.state == "failed");
    if (!checkpoint_failed) look_at_invariance(run.settings, globals, report);
    return print(report, globals);
}

} // namespace dorabench
