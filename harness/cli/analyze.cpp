// analyze: how weights moved, as magnitude and direction (decomposition.h): of two checkpoints, or of runs,
// whose adapters are merged one weight at a time, at every checkpoint that train.keep_every left and at the
// end.
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/cli/checkpoint_sites.h"
#include "harness/cli/commands.h"
#include "harness/cli/decomposition.h"
#include "harness/compare/samples.h"
#include "harness/page/plots.h"
#include "harness/report/table.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fnmatch.h>
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using Json = nlohmann::ordered_json;

struct Analysis {                       // of one run, or of two checkpoints
    std::string run, label, checkpoint; // label: "dora r16"; checkpoint: "150 steps"
    std::vector<WeightChange> weights;
};

std::vector<WeightChange> compare_files(const std::string& base_path, const std::string& tuned_path,
                                        int64_t spectrum) {
    const Checkpoint base = Checkpoint::open(resolve_checkpoint(base_path));
    const Checkpoint tuned = Checkpoint::open(resolve_checkpoint(tuned_path));
    std::vector<WeightChange> rows;
    for (const auto& [name, place] : base.tensors()) {
        if (place.entry.shape.size() != 2) continue;
        const Checkpoint::Place* other = tuned.find(name);
        if (!other) {
            log::warning(name, " stands in ", base_path, " alone: left out");
            continue;
        }
        if (other->entry.shape != place.entry.shape) {
            log::warning(name, " has another shape in ", tuned_path, " than in ", base_path, ": left out");
            continue;
        }
        const at::Tensor before = map_tensor(place.file, place.entry),
                         after = map_tensor(other->file, other->entry);
        if (!before.is_floating_point() || !after.is_floating_point()) {
            log::warning(name, " is not of a floating-point type: left out");
            continue;
        }
        rows.push_back(decompose(name, before, after, spectrum));
    }
    for (const auto& [name, place] : tuned.tensors())
        if (place.entry.shape.size() == 2 && !base.find(name))
            log::warning(name, " stands in ", tuned_path, " alone: left out");
    if (rows.empty())
        throw Error::data(base_path, " and ", tuned_path, " have no matrix of one name and shape in common");
    return rows;
}

// A folder, an id or its beginning, a name, or a method: all its finished runs.
std::vector<RunRecord> runs_of(const std::string& word, const std::string& results) {
    if (is_folder(word)) return {read_run(word)};
    std::vector<RunRecord> out;
    std::vector<std::string> known;
    for (RunRecord& record : read_runs(results)) {
        known.insert(known.end(), {record.id, record.name, record.method});
        bool named = starts_with(record.id, word) || record.name == word || record.method == word;
        if (!word.empty() && named && is_folder(record.path + "/adapter")) out.push_back(std::move(record));
    }
    if (out.empty())
        throw Error::config("no run \"", word, "\" with an adapter in ", results,
                            "/runs; give its id, name, method or folder", did_you_mean(word, known));
    return out;
}

// A run's base weights with its adapter on them: the checkpoint's, or those of a named shape drawn again.
class AnalyzedRun {
public:
    AnalyzedRun(const RunRecord& record, const Globals& globals) : record_(record) {
        auto setting = [&](const std::string& key) {
            const auto at = record.settings.find(key);
            return at == record.settings.end() ? std::string() : at->second;
        };
        if (!exists(record.path + "/adapter/adapter_config.json"))
            throw Error::data(record.path, ": expected the folder adapter/ of a trained run, it is missing");
        const std::string checkpoint = setting("backend.checkpoint");
        if (checkpoint.empty()) {
            BackendSettings settings;
            settings.type = setting("backend.type");
            settings.shape = setting("backend.shape");
            if (const std::string dtype = setting("backend.dtype"); !dtype.empty()) settings.dtype = dtype;
            settings.device = "cpu";
            backend_ = globals.registries->backends.get(settings.type).load(settings, record.seed);
        } else {
            backend_ = std::make_unique<CheckpointSites>(resolve_checkpoint(checkpoint),
                                                         globals.registries->backends);
        }
        // shares the mapping; trained weights get memory of their own on attach
        for (const NamedTensor& parameter : backend_->parameters())
            before_[parameter.name] = parameter.tensor.detach().alias();
        adapter_ = attach_adapter(*backend_, read_adapter_settings(record.path + "/adapter"), 0);
    }

    // Of an adapter on the way or the last one, merged one weight at a time.
    std::vector<WeightChange> changes(const std::string& folder, int64_t spectrum) {
        adapter_->load(folder);
        std::vector<WeightChange> rows;
        auto add = [&](const std::string& name, const at::Tensor& after) {
            if (after.dim() == 2) rows.push_back(decompose(name, before_.at(name), after.detach(), spectrum));
        };
        if (adapter_->settings().method != "ft") adapter_->for_each_merged(add);
        for (const TrainableTensor& part : adapter_->trainable())
            if (part.group == "weight") add(part.name, part.tensor);
        if (rows.empty()) throw Error::data(record_.path, ": the run's adapter changes no matrix");
        return rows;
    }

private:
    const RunRecord& record_;
    std::unique_ptr<Backend> backend_;
    std::map<std::string, at::Tensor> before_;
    std::unique_ptr<AdapterSet> adapter_;
};

// The adapters that train.keep_every left, by their steps.
std::map<int64_t, std::string> kept_adapters(const std::string& run_folder) {
    std::map<int64_t, std::string> out;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(run_folder + "/adapters", ignored)) {
        const std::string name = entry.path().filename().string();
        if (starts_with(name, "step-") && exists(entry.path().string() + "/adapter_config.json"))
            out[std::strtoll(name.c_str() + 5, nullptr, 10)] = entry.path().string();
    }
    return out;
}

// Every checkpoint of the run, the trained adapter last.
std::vector<Analysis> analyze_run(const RunRecord& record, int64_t spectrum, const Globals& globals) {
    const nlohmann::json metrics = run_json(record, "metrics.json");
    std::string steps = "?";
    if (auto train = metrics.find("train");
        train != metrics.end() && train->is_object() && train->contains("steps"))
        steps = (*train)["steps"].dump();
    std::vector<Analysis> out;
    AnalyzedRun run(record, globals);
    auto add = [&](const std::string& step, const std::string& folder) {
        out.push_back({record.id, method_label(record), step + " steps", run.changes(folder, spectrum)});
    };
    for (const auto& [step, folder] : kept_adapters(record.path)) add(cat(step), folder);
    add(steps, record.path + "/adapter");
    return out;
}

// Keeps the weights whose module or name fits the pattern.
void keep_modules(const std::string& pattern, std::vector<Analysis>& analyses) {
    if (pattern.empty()) return;
    std::vector<std::string> modules;
    size_t kept = 0;
    for (Analysis& analysis : analyses) {
        for (const WeightChange& weight : analysis.weights) modules.push_back(weight.module());
        std::erase_if(analysis.weights, [&](const WeightChange& weight) {
            return fnmatch(pattern.c_str(), weight.module().c_str(), 0) != 0 &&
                   fnmatch(pattern.c_str(), weight.name.c_str(), 0) != 0;
        });
        kept += analysis.weights.size();
    }
    if (kept == 0)
        throw Error::config("--module: expected a pattern that fits a weight's module or name, got \"",
                            pattern, "\"", did_you_mean(pattern, modules));
}

Json number(const std::optional<double>& value) {
    return value && std::isfinite(*value) ? Json(*value) : Json();
}

std::string digits(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
}

std::vector<const WeightChange*> pointers(const std::vector<WeightChange>& weights) {
    std::vector<const WeightChange*> out;
    for (const WeightChange& weight : weights) out.push_back(&weight);
    return out;
}

void add_relation(const Relation& relation, Json& out) {
    out["pearson"] = number(relation.pearson);
    out["slope"] = number(relation.slope);
    out["pearson_ci95"] = relation.low ? Json{*relation.low, *relation.high} : Json();
}

Json weight_json(const WeightChange& weight) {
    Json out = {
        {"name", weight.name},
        {"delta_m", number(weight.delta_m)},
        {"delta_d", number(weight.delta_d)},
        {"module", weight.module()},
        {"layer", weight.layer() ? Json(*weight.layer()) : Json()},
        {"norm_change", {{"mean", weight.norm_mean}, {"p5", weight.norm_low}, {"p95", weight.norm_high}}}};
    if (!weight.singular_values.empty()) out["singular_values"] = weight.singular_values;
    return out;
}

Json analysis_json(const Analysis& analysis) {
    Json out;
    out["rows"] = Json::array();
    for (const WeightChange& weight : analysis.weights) out["rows"].push_back(weight_json(weight));
    add_relation(relate(pointers(analysis.weights)), out);
    return out;
}

// All checkpoints and seeds of a method together, as the paper's figure draws them.
using Groups = std::vector<std::pair<std::string, std::vector<const WeightChange*>>>;
Groups by_label(const std::vector<Analysis>& analyses) {
    Groups out;
    for (const Analysis& analysis : analyses) {
        auto at = std::find_if(out.begin(), out.end(),
                               [&](const auto& one) { return one.first == analysis.label; });
        if (at == out.end()) at = out.insert(out.end(), {analysis.label, {}});
        for (const WeightChange& weight : analysis.weights) at->second.push_back(&weight);
    }
    return out;
}

std::string relation_text(const Relation& relation) {
    if (!relation.pearson) return "no correlation: one of the two does not vary";
    std::string out = cat("correlation of ΔD and ΔM ", digits(*relation.pearson));
    if (relation.low) out += cat(" (95 %: ", digits(*relation.low), " to ", digits(*relation.high), ")");
    return out + ", slope " + digits(*relation.slope);
}

Table weights_table(const Analysis& analysis) {
    Table table;
    if (!analysis.label.empty())
        table.title = cat(analysis.label, " (", analysis.run, "), ", analysis.checkpoint);
    table.header = {"weight", "ΔM", "ΔD", "norm change %", "5 %", "95 %"};
    for (const WeightChange& weight : analysis.weights)
        table.rows.push_back({weight.name, digits(weight.delta_m), digits(weight.delta_d),
                              fixed(100 * weight.norm_mean, 3), fixed(100 * weight.norm_low, 3),
                              fixed(100 * weight.norm_high, 3)});
    table.notes.push_back(
        "ΔM: mean change of a row's norm; ΔD: mean of 1 - cosine; one value an output row. Norm change: "
        "relative, mean over the rows with 5 % and 95 % quantiles.");
    table.notes.push_back(relation_text(relate(pointers(analysis.weights))));
    return table;
}

Table groups_table(const Groups& groups) {
    Table table;
    table.title = "ΔM against ΔD, all checkpoints and seeds of a method together";
    table.header = {"method", "weights", "correlation", "95 %", "slope", "mean ΔM", "mean ΔD"};
    for (const auto& [label, weights] : groups) {
        const Relation relation = relate(weights);
        double m = 0, d = 0, n = double(weights.size());
        for (const WeightChange* weight : weights) m += weight->delta_m / n, d += weight->delta_d / n;
        table.rows.push_back(
            {label, cat(weights.size()), relation.pearson ? fixed(*relation.pearson, 3) : "-",
             relation.low ? cat(fixed(*relation.low, 3), " to ", fixed(*relation.high, 3)) : "-",
             relation.slope ? digits(*relation.slope) : "-", digits(m), digits(d)});
    }
    return table;
}

std::vector<Plot> plots_of(const std::vector<Analysis>& analyses) {
    nlohmann::json points = nlohmann::json::array(), moved = points, spectra = points;
    for (const Analysis& analysis : analyses) {
        const std::string label = analysis.label.empty() ? "tuned" : analysis.label;
        for (const WeightChange& weight : analysis.weights) {
            nlohmann::json of = {{"run", label},
                                 {"checkpoint", analysis.checkpoint},
                                 {"module", weight.module()},
                                 {"name", weight.name}};
            nlohmann::json point = of, bar = of;
            point["delta_m"] = weight.delta_m;
            point["delta_d"] = weight.delta_d;
            points.push_back(point);
            bar["value"] = 100 * weight.norm_mean;
            bar["low"] = 100 * weight.norm_low;
            bar["high"] = 100 * weight.norm_high;
            if (analysis.checkpoint == analyses.back().checkpoint) moved.push_back(bar);
            for (size_t i = 0; i < weight.singular_values.size(); ++i) {
                nlohmann::json value = of;
                value["index"] = i + 1;
                value["value"] = weight.singular_values[i];
                if (weight.singular_values[i] > 1e-12 * weight.singular_values[0]) spectra.push_back(value);
            }
        }
    }
    std::vector<Plot> out = {
        make_plot("decomposition", "Change of magnitude against change of direction",
                  "ΔM against ΔD, a point a weight; dashed: least squares (DoRA, section 3.2).", points),
        make_plot("magnitude", "Where the magnitude moved",
                  "Relative change of the rows' norms by weight: mean, with 5 % and 95 % quantiles.", moved)};
    if (!spectra.empty())
        out.push_back(make_plot("spectrum", "Singular values of the update",
                                "Singular values of W' - W, one line a weight.", spectra));
    return out;
}

} // namespace

int analyze_command(const AnalyzeOptions& options, const Globals& globals) {
    const bool files = !options.base.empty() || !options.tuned.empty();
    if (files == !options.runs.empty() || options.base.empty() != options.tuned.empty())
        throw Error::config("analyze takes a RUN or several, or --base and --tuned");
    std::vector<Analysis> analyses;
    if (files) analyses.push_back({"", "", "", compare_files(options.base, options.tuned, options.spectrum)});
    for (const std::string& word : options.runs)
        for (const RunRecord& record : runs_of(word, options.results))
            for (Analysis& analysis : analyze_run(record, options.spectrum, globals))
                analyses.push_back(std::move(analysis));
    keep_modules(options.module, analyses);
    if (globals.format == "json") {
        // one run: the trained adapter as ever, its checkpoints beside it
        const bool one_run = std::all_of(analyses.begin(), analyses.end(), [&](const Analysis& analysis) {
            return analysis.run == analyses.front().run;
        });
        Json out = one_run ? analysis_json(analyses.back()) : Json{{"runs", Json::array()}};
        if (analyses.size() > 1) {
            for (const Analysis& analysis : analyses) {
                Json& all = out[one_run ? "checkpoints" : "runs"];
                all.push_back(
                    {{"run", analysis.run}, {"method", analysis.label}, {"checkpoint", analysis.checkpoint}});
                all.back().update(analysis_json(analysis));
            }
            out["methods"] = Json::array();
            for (const auto& [label, weights] : by_label(analyses)) {
                out["methods"].push_back({{"method", label}, {"weights", weights.size()}});
                add_relation(relate(weights), out["methods"].back());
            }
        }
        std::cout << out.dump(2) << "\n";
    } else {
        for (const Analysis& analysis : analyses)
            std::cout << render(weights_table(analysis), globals.format) << "\n";
        if (analyses.size() > 1) std::cout << render(groups_table(by_label(analyses)), globals.format);
    }
    if (!options.plots.empty())
        log::info("figures: ", write_plots(plots_of(analyses), options.plots).size(), " files in ",
                  options.plots);
    return 0;
}

} // namespace dorabench
