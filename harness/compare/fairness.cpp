// What makes a comparison of two methods say something else than which method is better.
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/compare/compare.h"
#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
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

json member(const json& object, const char* first, const char* second) {
    auto at = object.find(first);
    if (at == object.end() || !at->is_object()) return nullptr;
    auto inner = at->find(second);
    return inner == at->end() ? json() : *inner;
}

constexpr size_t kMostNames = 4; // that a line lists

std::string some_of(const std::vector<std::string>& names) {
    if (names.size() <= kMostNames + 1) return join(names, ", ");
    std::vector<std::string> first(names.begin(), names.begin() + kMostNames);
    return cat(join(first, ", "), " and ", names.size() - kMostNames, " others");
}

class Fairness {
public:
    Fairness(const std::vector<FairnessSide>& sides, const std::vector<RunRecord>& store) : store_(store) {
        for (const FairnessSide& side : sides) {
            const RunRecord& run = side.runs->front();
            sides_.push_back({side.label, side.runs, &run, run_json(run, "metrics.json"),
                              run_json(run, "provenance.json")});
        }
    }

    std::vector<std::string> warnings() {
        settings();
        evidence();
        fingerprints();
        rates();
        seeds_and_limits();
        return std::move(out_);
    }

private:
    struct Side {
        std::string label;
        const Runs* runs;
        const RunRecord* run; // the first: they differ in the seed alone
        json metrics, provenance;
        bool trained() const { return !setting(*run, "train.data").empty(); }
    };
    // A value of a side, or nothing where it does not apply.
    using Value = std::function<std::optional<std::string>(const Side&)>;
    using Groups = std::vector<std::pair<std::string, std::vector<std::string>>>; // value, labels

    Groups groups(const Value& value_of) const {
        Groups out;
        for (const Side& side : sides_) {
            std::optional<std::string> value = value_of(side);
            if (!value) continue;
            auto at = std::find_if(out.begin(), out.end(), [&](const auto& g) { return g.first == *value; });
            if (at == out.end()) at = out.insert(out.end(), {*value, {}});
            at->second.push_back(side.label);
        }
        return out;
    }

    // "100 against 200"; of many sides "100 (lora r4, dora r4) against 200 (ft)"
    std::string against(const Groups& groups, bool values) const {
        std::vector<std::string> parts;
        for (size_t i = 0; i < groups.size() && i < kMostNames; ++i) {
            const auto& [value, labels] = groups[i];
            std::string part = values ? shown(value) : "";
            if (sides_.size() > 2) part += (values ? " (" : "") + some_of(labels) + (values ? ")" : "");
            parts.push_back(part);
        }
        std::string out = join(parts, " against ");
        return groups.size() > kMostNames ? cat(out, " and ", groups.size() - kMostNames, " others") : out;
    }

    void differ(const std::string& what, const std::string& more, const Value& value_of) {
        Groups found = groups(value_of);
        if (found.size() > 1) out_.push_back(what + ": " + against(found, true) + more);
    }

    void differ_unseen(const std::string& what, const Value& value_of) { // hashes say nothing to a reader
        Groups found = groups(value_of);
        if (found.size() > 1) out_.push_back(sides_.size() > 2 ? what + ": " + against(found, false) : what);
    }

    void settings() {
        for (const Condition& condition : kConditions)
            differ(cat(condition.name, " differs"), cat(" (", condition.key, ")"),
                   [&](const Side& side) -> std::optional<std::string> {
                       if (starts_with(condition.key, "train.") && !side.trained()) return std::nullopt;
                       std::string value = setting(*side.run, condition.key);
                       if (starts_with(condition.key, "adapter.") && value.empty()) return std::nullopt; // ft
                       return value;
                   });
    }

    void evidence() {
        using Text = std::optional<std::string>;
        auto hash = [](const Side& side, const char* key) {
            auto at = side.provenance.find(key);
            return at == side.provenance.end() ? Text() : Text(at->dump());
        };
        auto said = [](const std::string& text) { return text.empty() ? Text() : Text(text); };
        differ("steps taken differ", "", [](const Side& side) {
            json steps = member(side.metrics, "train", "steps");
            return steps.is_number() ? Text(steps.dump()) : Text();
        });
        differ_unseen("training data: the files' hashes differ", [](const Side& side) {
            if (!side.trained()) return Text();
            std::set<std::string> hashes; // sorted; the files' places do not matter
            auto data = side.provenance.find("data");
            if (data != side.provenance.end() && data->is_object())
                for (const auto& [name, value] : data->items()) hashes.insert(value.dump());
            return Text(join({hashes.begin(), hashes.end()}, " "));
        });
        differ_unseen("tokenizer: the hashes differ", [&](const Side& s) { return hash(s, "tokenizer"); });
        differ_unseen("base checkpoint: the files' hashes differ",
                      [&](const Side& s) { return hash(s, "checkpoint"); });
        differ("program: measured by different commits", "",
               [&](const Side& s) { return said(s.run->commit); });
        differ("device", "; seconds and memory do not compare",
               [&](const Side& s) { return said(s.run->device); });
    }

    void fingerprints() {
        std::set<std::string> tasks;
        for (const Side& side : sides_)
            for (const auto& [task, result] : side.run->tasks) tasks.insert(task);
        for (const std::string& task : tasks)
            differ_unseen(cat(task, ": prompt, data or scoring differ (fingerprint)"),
                          [&](const Side& side) -> std::optional<std::string> {
                              json entry = member(side.metrics, "tasks", task.c_str());
                              if (!side.run->tasks.count(task) || !entry.is_object() ||
                                  !entry.contains("fingerprint") || !entry["fingerprint"].is_string())
                                  return std::nullopt;
                              return entry["fingerprint"].get<std::string>();
                          });
    }

    // The learning rates at which the store has trained this method at this place, any status.
    std::set<double> rates_tried(const RunRecord& run) const {
        std::set<double> out;
        for (const RunRecord& other : store_)
            if (other.backbone == run.backbone && other.method == run.method && other.rank == run.rank &&
                setting(other, "train.data") == setting(run, "train.data") && other.learning_rate > 0)
                out.insert(other.learning_rate);
        return out;
    }

    void rates() {
        std::vector<std::string> tuned, counts, single, peeked;
        size_t several = 0, once = 0, tried_most = 0;
        for (const Side& side : sides_) {
            const size_t tried = rates_tried(*side.run).size();
            if (tried == 0) continue; // not trained
            counts.push_back(cat(tried, " tried for ", side.label));
            (tried > 1 ? several : once) += 1;
            tried_most = std::max(tried_most, tried);
            if (tried == 1) single.push_back(cat(side.label, " ", side.run->learning_rate));
            if (tried > 1 && side.run->chosen_by.empty()) peeked.push_back(side.label);
        }
        if (several > 0 && once > 0)
            out_.push_back(cat("learning rate tuned for ", sides_.size() > 2 ? "some" : "one side",
                               " alone: ", some_of(counts)));
        else if (once > 1)
            out_.push_back(
                cat("learning rate: one was tried on each side (", some_of(single),
                    "), so the difference may be one of its fit; `select` over train.learning_rate "
                    "settles it"));
        if (!peeked.empty())
            out_.push_back(cat("learning rate of ", some_of(peeked), ": ",
                               peeked.size() > 1 ? "several" : cat(tried_most),
                               " were evaluated on the test set; a choice by test score is optimistic "
                               "(--select learning_rate chooses on the held-out examples)"));
    }

    void seeds_and_limits() {
        size_t seeds = SIZE_MAX;
        bool trained = false;
        std::vector<std::string> few, partial;
        for (const Side& side : sides_) {
            if (std::any_of(side.runs->begin(), side.runs->end(),
                            [](const RunRecord& run) { return run.partial; }))
                partial.push_back(side.label);
            trained = trained || side.run->method != "none";
            if (side.run->method == "none" && sides_.size() > 2)
                continue; // the base has no training to repeat
            seeds = std::min(seeds, side.runs->size());
            if (side.runs->size() < 3) few.push_back(side.label);
        }
        if (trained && seeds < 3)
            out_.push_back(cat("seeds: ", seeds, " a side",
                               sides_.size() > 2 ? " (" + some_of(few) + ")" : "",
                               ", fewer than three; the spread between trainings is ",
                               seeds == 1 ? "unknown" : "hardly known"));
        if (!partial.empty())
            out_.push_back(cat("limit: ", some_of(partial), partial.size() > 1 ? " were" : " was",
                               " evaluated on a part of the test set"));
    }

    std::vector<Side> sides_;
    const std::vector<RunRecord>& store_;
    std::vector<std::string> out_;
};

} // namespace

std::vector<std::string> fairness_warnings(const std::vector<FairnessSide>& sides,
                                           const std::vector<RunRecord>& store) {
    return sides.size() < 2 ? std::vector<std::string>() : Fairness(sides, store).warnings();
}

} // namespace dorabench
