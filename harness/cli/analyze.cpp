// Weight decomposition of arXiv:2402.09353, section 3.2, by output row n of a weight [out, in]:
//   ΔM = mean_n | ||w'_n|| - ||w_n|| |      ΔD = mean_n (1 - cos(w'_n, w_n))
// and over all weights Pearson's correlation of (ΔD, ΔM) and the slope of ΔM on ΔD. float64 throughout.
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/cli/checkpoint_sites.h"
#include "harness/cli/commands.h"
#include "harness/report/table.h"
#include <ATen/TensorOperators.h>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

namespace dorabench {
namespace {

constexpr int64_t kChunkElements = 1 << 21; // of a weight that are widened to float64 at a time
constexpr double kVaries = 1e-6; // a standard deviation below this is float32 rounding, not variation

struct Row {
    std::string name;
    double delta_m = 0, delta_d = 0;
};

Row decompose(const std::string& name, const at::Tensor& base, const at::Tensor& tuned) {
    const int64_t out = base.size(0),
                  step = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(base.size(1), 1));
    double magnitude = 0, direction = 0;
    for (int64_t row = 0; row < out; row += step) {
        const int64_t rows = std::min(step, out - row);
        const at::Tensor a = base.narrow(0, row, rows).to(at::kDouble),
                         b = tuned.narrow(0, row, rows).to(at::kDouble);
        const at::Tensor m = (a * a).sum(1).sqrt(), n = (b * b).sum(1).sqrt(), product = m * n;
        magnitude += (n - m).abs().sum().item<double>();
        // A row of zeros has no direction: unchanged if it stays zero, turned fully if it does not.
        const at::Tensor cosine = (a * b).sum(1) / product.masked_fill(product == 0, 1);
        const at::Tensor turned = (1 - cosine).clamp_min(0);
        direction += turned.masked_fill((m == 0).logical_and(n == 0), 0).sum().item<double>();
    }
    const double count = double(std::max<int64_t>(out, 1));
    return {name, magnitude / count, direction / count};
}

struct Relation {
    std::optional<double> pearson, slope; // none where one of the two does not vary
};

Relation relate(const std::vector<Row>& rows) {
    const double n = double(rows.size());
    double mean_d = 0, mean_m = 0, dd = 0, mm = 0, dm = 0;
    for (const Row& row : rows) mean_d += row.delta_d / n, mean_m += row.delta_m / n;
    for (const Row& row : rows) {
        const double d = row.delta_d - mean_d, m = row.delta_m - mean_m;
        dd += d * d, mm += m * m, dm += d * m;
    }
    Relation relation;
    if (rows.size() < 2 || std::sqrt(dd / n) <= kVaries || std::sqrt(mm / n) <= kVaries) return relation;
    relation.pearson = dm / std::sqrt(dd * mm);
    relation.slope = dm / dd;
    return relation;
}

std::vector<Row> compare_files(const std::string& base_path, const std::string& tuned_path) {
    const Checkpoint base = Checkpoint::open(resolve_checkpoint(base_path));
    const Checkpoint tuned = Checkpoint::open(resolve_checkpoint(tuned_path));
    std::vector<Row> rows;
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
        rows.push_back(decompose(name, before, after));
    }
    for (const auto& [name, place] : tuned.tensors())
        if (place.entry.shape.size() == 2 && !base.find(name))
            log::warning(name, " stands in ", tuned_path, " alone: left out");
    if (rows.empty())
        throw Error::data(base_path, " and ", tuned_path, " have no matrix of one name and shape in common");
    return rows;
}

std::string run_folder(const std::string& run) {
    if (is_folder(run)) return run;
    if (const auto record = find_run("results", run)) return record->path;
    throw Error::config("no run \"", run, "\" in results/runs; give its id, name or folder");
}

// A run's adapter against the weights it was trained on, merged one weight at a time.
std::vector<Row> compare_run(const std::string& run, const Globals& globals) {
    const std::string folder = run_folder(run);
    const RunRecord record = read_run(folder);
    auto setting = [&](const std::string& key) {
        const auto at = record.settings.find(key);
        return at == record.settings.end() ? std::string() : at->second;
    };
    if (!exists(folder + "/adapter/adapter_config.json"))
        throw Error::data(folder, ": expected the folder adapter/ of a trained run, it is missing");
    const std::string checkpoint = setting("backend.checkpoint");
    std::unique_ptr<Backend> backend;
    if (checkpoint.empty()) { // random weights of a named shape, drawn again
        BackendSettings settings;
        settings.type = setting("backend.type");
        settings.shape = setting("backend.shape");
        if (const std::string dtype = setting("backend.dtype"); !dtype.empty()) settings.dtype = dtype;
        settings.device = "cpu";
        backend = globals.registries->backends.get(settings.type).load(settings, record.seed);
    } else {
        backend =
            std::make_unique<CheckpointSites>(resolve_checkpoint(checkpoint), globals.registries->backends);
    }
    std::map<std::string, at::Tensor>
        before; // shares the mapping; trained weights get memory of their own on attach
    for (const NamedTensor& parameter : backend->parameters())
        before[parameter.name] = parameter.tensor.detach().alias();
    const auto adapter = attach_adapter(*backend, read_adapter_settings(folder + "/adapter"), 0);
    adapter->load(folder + "/adapter");
    std::vector<Row> rows;
    auto add = [&](const std::string& name, const at::Tensor& after) {
        if (after.dim() == 2) rows.push_back(decompose(name, before.at(name), after.detach()));
    };
    if (adapter->settings().method != "ft") adapter->for_each_merged(add);
    for (const TrainableTensor& part : adapter->trainable())
        if (part.group == "weight") add(part.name, part.tensor);
    if (rows.empty()) throw Error::data(folder, ": the run's adapter changes no matrix");
    return rows;
}

nlohmann::ordered_json number(const std::optional<double>& value) {
    return value && std::isfinite(*value) ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

std::string digits(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
}

} // namespace

int analyze_command(const AnalyzeOptions& options, const Globals& globals) {
    const bool files = !options.base.empty() || !options.tuned.empty();
    if (files == !options.run.empty() || options.base.empty() != options.tuned.empty())
        throw Error::config("analyze takes a RUN, or --base and --tuned");
    const std::vector<Row> rows =
        files ? compare_files(options.base, options.tuned) : compare_run(options.run, globals);
    const Relation relation = relate(rows);
    if (globals.format == "json") {
        nlohmann::ordered_json out;
        out["rows"] = nlohmann::ordered_json::array();
        for (const Row& row : rows)
            out["rows"].push_back(
                {{"name", row.name}, {"delta_m", number(row.delta_m)}, {"delta_d", number(row.delta_d)}});
        out["pearson"] = number(relation.pearson);
        out["slope"] = number(relation.slope);
        std::cout << out.dump(2) << "\n";
        return 0;
    }
    Table table;
    table.header = {"weight", "ΔM", "ΔD"};
    for (const Row& row : rows) table.rows.push_back({row.name, digits(row.delta_m), digits(row.delta_d)});
    table.notes.push_back("ΔM: mean change of a row's norm; ΔD: mean of 1 - cosine; one value an output row");
    table.notes.push_back(relation.pearson ? cat("correlation of ΔD and ΔM ", digits(*relation.pearson),
                                                 ", slope ", digits(*relation.slope))
                                           : "no correlation: one of the two does not vary");
    std::cout << render(table, globals.format);
    return 0;
}

} // namespace dorabench
