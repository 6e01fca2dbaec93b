// params: how many parameters a configuration trains, from shapes alone, beside what was published for it.
#include "harness/base/env.h"
#include "harness/base/text.h"
#include "harness/cli/names.h"
#include "harness/plan/plan.h"
#include "harness/report/published.h"
#include "harness/report/table.h"
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;

int64_t total_of(const PlannedRun& run) { return run.count.base + run.count.added; }
bool has_rank(const PlannedRun& run) {
    return run.settings.adapter.method != "ft" && run.settings.adapter.method != "none";
}

double percent_of(int64_t part, int64_t whole) {
    return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// A checkpoint has no shape name: its folder or hub id may say which published backbone it is.
std::string backbone_of(const PlannedRun& run) {
    const BackendSettings& backend = run.settings.backend;
    if (!backend.shape.empty()) return backend.shape;
    std::string path = backend.checkpoint;
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
}

// The last names of the modules that got a low-rank pair, however the configuration names them.
std::vector<std::string> targets_of(const PlannedRun& run) {
    const AdapterSettings& adapter = run.settings.adapter;
    if (!adapter.target_modules.empty()) return adapter.target_modules;
    std::set<std::string> names;
    for (const ModuleCount& module : run.count.modules)
        if (module.kind == adapter.method)
            names.insert(module.name.substr(module.name.find_last_of('.') + 1));
    return {names.begin(), names.end()};
}

std::optional<PublishedRow> published_for(const PlannedRun& run, const std::vector<PublishedRow>& all) {
    const AdapterSettings& adapter = run.settings.adapter;
    const std::vector<std::string> targets = targets_of(run);
    if (!has_rank(run) || targets.empty()) return std::nullopt;
    if (!adapter.rank_pattern.empty() || !adapter.exclude_modules.empty()) return std::nullopt;
    auto first_of = [&](const std::string& backbone, bool by_size) -> std::optional<PublishedRow> {
        for (PublishedRow& row :
             published(all, backbone, adapter.method, adapter.rank, targets, adapter.magnitude_modules))
            if (row.params_percent && !row.targets.empty() && row.train_also == adapter.train_also &&
                (!by_size || row.base == run.count.base))
                return row;
        return std::nullopt;
    };
    if (auto row = first_of(backbone_of(run), false)) return row;
    for (const PublishedRow& candidate : all)
        if (candidate.base == run.count.base)
            if (auto row = first_of(candidate.backbone, true)) return row;
    return std::nullopt;
}

std::string verdict_of(const PlannedRun& run, const PublishedRow& row) {
    return percent_verdict(run.count.trainable, total_of(run), run.count.base, *row.params_percent);
}

json as_json(const PlannedRun& run, const std::vector<PublishedRow>& all) {
    json modules = json::array();
    for (const ModuleCount& module : run.count.modules)
        modules.push_back({{"name", module.name},
                           {"kind", module.kind},
                           {"shape", module.shape},
                           {"trainable", module.trainable}});
    json figure;
    if (auto row = published_for(run, all))
        figure = {{"percent", *row->params_percent},
                  {"printed_here", printed_percent(run.count.trainable, total_of(run))},
                  {"verdict", verdict_of(run, *row)},
                  {"source", row->source},
                  {"table", row->table}};
    return {{"backend", run.settings.backend.type},
            {"backbone", run.shapes.name},
            {"method", run.settings.adapter.method},
            {"rank", has_rank(run) ? json(run.settings.adapter.rank) : json()},
            {"trainable", run.count.trainable},
            {"total", total_of(run)},
            {"base", run.count.base},
            {"percent_of_total", percent_of(run.count.trainable, total_of(run))},
            {"percent_of_base", percent_of(run.count.trainable, run.count.base)},
            {"stored_bytes", run.count.stored_bytes},
            {"published", figure},
            {"modules", modules},
            {"memory_bytes",
             {{"weights", run.memory.weights},
              {"adapter", run.memory.adapter},
              {"gradients", run.memory.gradients},
              {"optimizer", run.memory.optimizer},
              {"activations_estimate", run.memory.activations},
              {"buffers", run.memory.buffers},
              {"program", run.memory.program},
              {"total", run.memory.total()}}}};
}

std::string memory_line(const MemoryEstimate& memory) {
    auto bytes = [](int64_t n) { return human_bytes(static_cast<double>(n)); };
    return cat("memory of a training step, estimated: ", bytes(memory.total()), " (weights ",
               bytes(memory.weights), ", adapter ", bytes(memory.adapter), ", gradients ",
               bytes(memory.gradients), ", optimizer ", bytes(memory.optimizer), ", activations ",
               bytes(memory.activations), ", buffers ", bytes(memory.buffers),
               memory.program > 0 ? cat(", the program itself ", bytes(memory.program)) : "", ")");
}

// Modules of one kind and last name ("q_proj") together.
Table groups_table(const PlannedRun& run) {
    struct Group {
        int64_t modules = 0, trainable = 0;
        std::set<std::string> shapes;
    };
    std::map<std::pair<std::string, std::string>, Group> groups;
    for (const ModuleCount& module : run.count.modules) {
        if (module.trainable == 0) continue;
        std::string last = module.name.substr(module.name.find_last_of('.') + 1);
        if (last == "weight" || last == "bias") {
            std::string parent = module.name.substr(0, module.name.size() - last.size() - 1);
            last = parent.substr(parent.find_last_of('.') + 1) + "." + last;
        }
        Group& group = groups[{last, module.kind}];
        ++group.modules;
        group.trainable += module.trainable;
        std::vector<std::string> sides;
        for (int64_t side : module.shape) sides.push_back(cat(side));
        group.shapes.insert("[" + join(sides, ", ") + "]");
    }
    Table table;
    table.header = {"module", "kind", "shape", "modules", "trainable"};
    table.align = {Align::left, Align::left, Align::left, Align::right, Align::right};
    for (const auto& [key, group] : groups)
        table.rows.push_back(
            {key.first, key.second,
             group.shapes.size() == 1 ? *group.shapes.begin() : cat(group.shapes.size(), " shapes"),
             cat(group.modules), with_commas(group.trainable)});
    return table;
}

void print_one(const PlannedRun& run, const std::vector<PublishedRow>& all) {
    std::cout << run.shapes.name << ", " << run.settings.adapter.method;
    if (has_rank(run)) std::cout << " r" << run.settings.adapter.rank;
    std::cout << "\n"
              << render(groups_table(run), "text") << "trainable   " << with_commas(run.count.trainable)
              << "\n"
              << "base        " << with_commas(run.count.base) << "\n"
              << "total       " << with_commas(total_of(run)) << "\n"
              << "% of total  " << fixed(percent_of(run.count.trainable, total_of(run)), 4) << "\n"
              << "% of base   " << fixed(percent_of(run.count.trainable, run.count.base), 4) << "\n"
              << "stored      " << human_bytes(static_cast<double>(run.count.stored_bytes)) << "\n";
    if (auto row = published_for(run, all))
        std::cout << "published   " << fixed(*row->params_percent, 2) << " (" << row->source << ", "
                  << row->table << "): " << verdict_of(run, *row) << "\n";
    std::cout << memory_line(run.memory) << "\n";
}

Table many_table(const std::vector<PlannedRun>& runs, const std::vector<PublishedRow>& all) {
    Table table;
    table.key_columns = 2;
    table.header = {"method",    "rank",   "trainable", "total",       "% of total",
                    "% of base", "stored", "memory",    "published %", "verdict"};
    table.align.assign(table.header.size(), Align::right);
    table.align.front() = table.align.back() = Align::left;
    for (const PlannedRun& run : runs) {
        auto row = published_for(run, all);
        std::string verdict = row ? verdict_of(run, *row) : "-";
        table.rows.push_back(
            {run.settings.adapter.method, has_rank(run) ? cat(run.settings.adapter.rank) : "-",
             with_commas(run.count.trainable), with_commas(total_of(run)),
             fixed(percent_of(run.count.trainable, total_of(run)), 4),
             fixed(percent_of(run.count.trainable, run.count.base), 4),
             human_bytes(static_cast<double>(run.count.stored_bytes)),
             human_bytes(static_cast<double>(run.memory.total())), row ? fixed(*row->params_percent, 2) : "-",
             verdict.substr(0, verdict.find(':'))});
    }
    return table;
}

// Seeds change no count.
std::vector<PlannedRun> without_seed_twins(std::vector<PlannedRun> runs) {
    std::set<std::string> seen;
    std::vector<PlannedRun> out;
    for (PlannedRun& run : runs) {
        RunSettings settings = run.settings;
        settings.seed = 0;
        if (seen.insert(run_identity(settings)).second) out.push_back(std::move(run));
    }
    return out;
}

} // namespace

int params_command(const ParamsOptions& options, const Globals& globals) {
    std::vector<std::string> axes;
    if (!options.ranks.empty()) {
        std::vector<std::string> ranks;
        for (int64_t rank : options.ranks) ranks.push_back(cat(rank));
        axes.push_back("adapter.rank=" + join(ranks, ","));
    }
    ConfigFile config = load_experiment(options, globals, axes);
    RunPlan plan = make_plan(config, globals.registries->backends, known_names(*globals.registries));
    std::vector<PlannedRun> runs = without_seed_twins(std::move(plan.runs));
    std::vector<PublishedRow> all = read_published(share_folder() + "/baselines");
    if (globals.format == "json") {
        json out = json::array();
        for (const PlannedRun& run : runs) out.push_back(as_json(run, all));
        std::cout << (runs.size() == 1 && options.ranks.empty() ? out.front() : out).dump(2) << "\n";
    } else if (runs.size() == 1 && globals.format == "text") {
        print_one(runs.front(), all);
    } else {
        std::cout << render(many_table(runs, all), globals.format);
    }
    return 0;
}

} // namespace dorabench
