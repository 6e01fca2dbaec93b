// What makes a comparison of two methods say something else than which method is better.
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/compare/compare.h"
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;

struct Condition {
    const char *key, *name;
};
constexpr Condition kConditions[] = {
    {"backend.checkpoint", "backbone"},
    {"backend.shape", "backbone"},
    {"backend.dtype", "dtype"},
    {"backend.quantization", "quantization"},
    {"backend.tokenizer", "tokenizer"},
    {"train.data", "training data"},
    {"train.template", "training template"},
    {"train.validation", "held-out examples"},
    {"train.train_on_inputs", "train_on_inputs (which tokens bear loss)"},
    {"train.epochs", "epochs"},
    {"train.max_steps", "steps"},
    {"train.batch_size", "batch size"},
    {"train.max_length", "max_length"},
    {"train.packing", "packing"},
    {"train.optimizer", "optimizer"},
    {"train.scheduler", "scheduler"},
    {"adapter.target_modules", "target modules"},
    {"evaluate.template", "evaluation template"},
    {"evaluate.mode", "evaluation mode"},
    {"evaluate.num_fewshot", "few-shot examples"},
    {"evaluate.chat_template", "chat template"},
    {"evaluate.num_beams", "beams"},
    {"evaluate.max_new_tokens", "max_new_tokens"},
    {"evaluate.limit", "limit"},
};

std::string shown(const std::string& value) { return value.empty() ? "none" : value; }

void compare_settings(const RunRecord& a, const RunRecord& b, std::vector<std::string>& out) {
    bool trained = !setting(a, "train.data").empty() && !setting(b, "train.data").empty();
    for (const Condition& condition : kConditions) {
        if (starts_with(condition.key, "train.") && !trained) continue;
        std::string mine = setting(a, condition.key), theirs = setting(b, condition.key);
        if (starts_with(condition.key, "adapter.") && (mine.empty() || theirs.empty())) continue; // ft, none
        if (mine != theirs)
            out.push_back(cat(condition.name, " differs: ", shown(mine), " against ", shown(theirs), " (",
                              condition.key, ")"));
    }
}

json member(const json& object, const char* first, const char* second) {
    auto at = object.find(first);
    if (at == object.end() || !at->is_object()) return nullptr;
    auto inner = at->find(second);
    return inner == at->end() ? json() : *inner;
}

// The sorted hashes of the training files; their places do not matter.
std::set<std::string> data_hashes(const json& provenance) {
    std::set<std::string> out;
    auto data = provenance.find("data");
    if (data != provenance.end() && data->is_object())
        for (const auto& [name, hash] : data->items())
            if (hash.is_string()) out.insert(hash.get<std::string>());
    return out;
}

void compare_evidence(const RunRecord& a, const RunRecord& b, std::vector<std::string>& out) {
    json left = run_json(a, "metrics.json"), right = run_json(b, "metrics.json");
    json from = run_json(a, "provenance.json"), other = run_json(b, "provenance.json");
    json steps_a = member(left, "train", "steps"), steps_b = member(right, "train", "steps");
    if (steps_a.is_number() && steps_b.is_number() && steps_a != steps_b)
        out.push_back(cat("steps taken differ: ", steps_a.dump(), " against ", steps_b.dump()));
    if (data_hashes(from) != data_hashes(other)) out.push_back("training data: the files' hashes differ");
    if (from.contains("tokenizer") && other.contains("tokenizer") && from["tokenizer"] != other["tokenizer"])
        out.push_back("tokenizer: the hashes differ");
    if (from.contains("checkpoint") && other.contains("checkpoint") &&
        from["checkpoint"] != other["checkpoint"])
        out.push_back("base checkpoint: the files' hashes differ");
    if (!a.commit.empty() && !b.commit.empty() && a.commit != b.commit)
        out.push_back(cat("program: measured by commits ", a.commit, " and ", b.commit));
    if (!a.device.empty() && !b.device.empty() && a.device != b.device)
        out.push_back(
            cat("device: ", a.device, " against ", b.device, "; seconds and memory do not compare"));
    for (const auto& [task, result] : a.tasks) {
        auto fingerprint = [&](const json& metrics) {
            json entry = member(metrics, "tasks", task.c_str());
            return entry.is_object() && entry.contains("fingerprint") ? entry["fingerprint"] : json();
        };
        json one = fingerprint(left), two = fingerprint(right);
        if (one.is_string() && two.is_string() && one != two)
            out.push_back(cat(task, ": prompt, data or scoring differ (fingerprint)"));
    }
}

// The learning rates at which the store has trained this method at this place, any status.
std::set<double> rates_tried(const RunRecord& run, const std::vector<RunRecord>& store) {
    std::set<double> out;
    for (const RunRecord& other : store)
        if (other.backbone == run.backbone && other.method == run.method && other.rank == run.rank &&
            setting(other, "train.data") == setting(run, "train.data") && other.learning_rate > 0)
            out.insert(other.learning_rate);
    return out;
}

void compare_rates(const RunRecord& a, const RunRecord& b, const std::vector<RunRecord>& store,
                   std::vector<std::string>& out) {
    std::set<double> mine = rates_tried(a, store), theirs = rates_tried(b, store);
    if (mine.empty() || theirs.empty()) return;
    if ((mine.size() > 1) != (theirs.size() > 1))
        out.push_back(cat("learning rate tuned for one side alone: ", mine.size(), " tried for A, ",
                          theirs.size(), " for B"));
    else if (mine.size() == 1)
        out.push_back(
            cat("learning rate: one was tried on each side (A ", a.learning_rate, ", B ", b.learning_rate,
                "), so the difference may be one of its fit; `select` over train.learning_rate settles it"));
    for (const auto& [side, run, tried] : {std::tuple("A", &a, &mine), std::tuple("B", &b, &theirs)})
        if (tried->size() > 1 && !run_json(*run, "metrics.json").contains("selected_by"))
            out.push_back(cat("learning rate of ", side, ": ", tried->size(),
                              " were evaluated on the test set; a choice by test score is optimistic"));
}

} // namespace

std::vector<std::string> fairness_warnings(const Runs& a, const Runs& b,
                                           const std::vector<RunRecord>& store) {
    std::vector<std::string> out;
    compare_settings(a.front(), b.front(), out);
    compare_evidence(a.front(), b.front(), out);
    compare_rates(a.front(), b.front(), store, out);
    size_t seeds = std::min(a.size(), b.size());
    bool trained = a.front().method != "none" || b.front().method != "none";
    if (trained && seeds < 3)
        out.push_back(cat("seeds: ", seeds, " a side, fewer than three; the spread between trainings is ",
                          seeds == 1 ? "unknown" : "hardly known"));
    for (const auto& [side, runs] : {std::pair("A", &a), std::pair("B", &b)})
        if (std::any_of(runs->begin(), runs->end(), [](const RunRecord& run) { return run.partial; }))
            out.push_back(cat("limit: ", side, " was evaluated on a part of the test set"));
    return out;
}

} // namespace dorabench
