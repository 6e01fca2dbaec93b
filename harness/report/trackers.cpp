#include "harness/report/trackers.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/report/event_file.h"
#include <cmath>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json read_object(const std::string& path) {
    if (!exists(path)) return json::object();
    json out = json::parse(read_file(path), nullptr, false);
    return out.is_object() ? out : json::object();
}

// A half-written or damaged line is left out: the run may be going on.
void for_each_object(const std::string& path, const std::function<void(const json&)>& f) {
    if (!exists(path)) return;
    for_each_line(path, [&](size_t, std::string_view line) {
        const json object = json::parse(line, nullptr, false);
        if (object.is_object()) f(object);
    });
}

double seconds_since_1970(const std::string& utc) { // "2026-01-02T03:04:05Z"
    std::tm time = {};
    if (!strptime(utc.c_str(), "%Y-%m-%dT%H:%M:%SZ", &time)) return 0;
    return static_cast<double>(timegm(&time));
}

// A part of a file's name: what viewers and file systems take.
std::string plain(const std::string& text) {
    std::string out;
    for (const char c : text)
        out += isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.' ? c : '_';
    return out;
}

std::string label(const RunRecord& run) {
    return plain(cat(run.name, "-", run.method, run.rank > 0 ? cat("-r", run.rank) : "", "-s", run.seed, "-",
                     run.id.substr(0, 8)));
}

double number(const json& object, const char* key, double otherwise) {
    const auto at = object.find(key);
    return at != object.end() && at->is_number() ? at->get<double>() : otherwise;
}

std::string lm_eval_name(const std::string& metric) { return metric == "accuracy" ? "acc" : metric; }

json or_null(bool missing, double value) { return missing || !std::isfinite(value) ? json() : json(value); }

json sample_line(const json& sample, int64_t doc_id, const std::string& metric) {
    const std::string prompt = sample.value("prompt", ""), target = sample.value("target", "");
    json out = {{"doc_id", doc_id},
                {"doc", {{"id", sample.value("id", "")}}},
                {"target", target},
                {"arguments", {{"gen_args_0", {{"arg_0", prompt}}}}},
                {"resps", json::array({json::array({sample.value("raw_output", "")})})},
                {"filtered_resps", json::array({sample.value("prediction", "")})},
                {"filter", "none"},
                {"metrics", json::array({metric})},
                {"doc_hash", sha256_hex(sample.value("id", ""))},
                {"prompt_hash", sha256_hex(prompt)},
                {"target_hash", sha256_hex(target)},
                {metric, sample.value("score", 0.0)}};
    if (sample.contains("values"))
        for (const auto& [name, value] : sample["values"].items()) out[name] = value;
    return out;
}

} // namespace

std::string export_tensorboard(const RunRecord& run, const std::string& to) {
    const double begin = seconds_since_1970(run.started);
    double time = begin;
    int64_t last = 0;
    std::vector<ScalarEvent> events;
    std::map<int64_t, double> time_of;
    for_each_object(run.path + "/steps.jsonl", [&](const json& step) {
        const double seconds = number(step, "seconds", 0), tokens = number(step, "tokens", 0);
        last = static_cast<int64_t>(number(step, "step", 0));
        time += seconds;
        time_of[last] = time;
        for (const char* key : {"loss", "learning_rate", "grad_norm"})
            if (step.contains(key) && step[key].is_number())
                events.push_back({time, last, cat("train/", key), step[key].get<double>()});
        if (seconds > 0) events.push_back({time, last, "train/tokens_per_second", tokens / seconds});
    });
    for_each_object(run.path + "/validation.jsonl", [&](const json& line) {
        const auto step = static_cast<int64_t>(number(line, "step", 0));
        const auto at = time_of.find(step);
        events.push_back(
            {at == time_of.end() ? time : at->second, step, "validation/loss", number(line, "loss", NAN)});
    });
    for (const auto& [task, result] : run.tasks)
        for (const auto& [name, metric] : result.metrics)
            if (!metric.missing) events.push_back({time, last, cat("test/", task, "/", name), metric.value});
    const std::string folder = to + "/" + label(run);
    make_folder(folder);
    const std::string file = cat(folder, "/events.out.tfevents.", static_cast<int64_t>(begin), ".dora-bench");
    write_file_atomic(file, event_file(begin, events));
    return file;
}

std::string export_lm_eval(const RunRecord& run, const std::string& to) {
    if (run.tasks.empty()) throw Error::data("run ", run.id, " has no evaluated task: nothing to export");
    const json provenance = read_object(run.path + "/provenance.json");
    const json metrics = read_object(run.path + "/metrics.json");
    const std::string date = replace_all(replace_all(run.started, ":", "-"), "Z", "");
    const std::string model = plain(run.backbone + "__" + label(run)), folder = to + "/" + model;
    make_folder(folder);
    json out = {{"results", json::object()},  {"group_subtasks", json::object()},
                {"configs", json::object()},  {"versions", json::object()},
                {"n-shot", json::object()},   {"higher_is_better", json::object()},
                {"n-samples", json::object()}};
    auto setting = [&](const char* key) {
        const auto at = run.settings.find(key);
        return at == run.settings.end() ? std::string() : at->second;
    };
    for (const auto& [task, result] : run.tasks) {
        json& row = out["results"][task] = {{"alias", task}};
        for (const auto& [name, metric] : result.metrics) {
            row[lm_eval_name(name) + ",none"] = or_null(metric.missing, metric.value);
            row[lm_eval_name(name) + "_stderr,none"] = or_null(metric.missing, metric.stderr_);
            out["higher_is_better"][task][lm_eval_name(name)] = true;
        }
        out["group_subtasks"][task] = json::array();
        const json shots = setting("evaluate.num_fewshot").empty()
                               ? json(0)
                               : json(std::atoi(setting("evaluate.num_fewshot").c_str()));
        out["configs"][task] = {{"task", task}, {"num_fewshot", shots}, {"metadata", {{"version", 1}}}};
        out["versions"][task] = 1;
        out["n-shot"][task] = shots;
        out["n-samples"][task] = {{"original", result.n}, {"effective", result.n}};
        std::string lines, source = run.path + "/samples/" + replace_all(task, "/", ".") + ".jsonl";
        int64_t doc_id = 0;
        for_each_object(source, [&](const json& sample) {
            lines += sample_line(sample, doc_id++, lm_eval_name(result.primary))
                         .dump(-1, ' ', false, json::error_handler_t::replace) +
                     "\n";
        });
        write_file_atomic(folder + "/samples_" + plain(task) + "_" + date + ".jsonl", lines);
    }
    out["config"] = {{"model", "dora-bench"},
                     {"model_args", cat("backend=", run.backend, ",backbone=", run.backbone,
                                        ",method=", run.method, ",rank=", run.rank, ",run=", run.id)},
                     {"model_num_parameters", metrics.value("total", json())},
                     {"batch_size", setting("evaluate.batch_size")},
                     {"device", run.device},
                     {"limit", run.partial ? json(setting("evaluate.limit")) : json()},
                     {"random_seed", run.seed}};
    out["git_hash"] = run.commit;
    out["date"] = seconds_since_1970(run.started);
    out["pretty_env_info"] = cat("dora-bench ", provenance.value("version", ""), ", LibTorch ",
                                 provenance.value("libtorch", ""), ", ", provenance.value("host", ""));
    out["model_source"] = "dora-bench";
    out["model_name"] = run.backbone;
    out["model_name_sanitized"] = model;
    out["total_evaluation_time_seconds"] = cat(number(metrics, "evaluate_seconds", 0));
    const std::string file = folder + "/results_" + date + ".json";
    write_file_atomic(file, out.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
    return file;
}

} // namespace dorabench
