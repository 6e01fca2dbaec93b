#include "harness/plan/plan.h"
#include "backends/io/safetensors.h"
#include "harness/base/text.h"
#include <algorithm>
#include <map>
#include <set>

namespace dorabench {
namespace {

constexpr size_t kMostCombinations = 100000; // a plan that large is a slip, and would fill the memory

class Planner {
public:
    Planner(const ConfigFile& config, const Registry<BackendFactory>& backends, const KnownNames& names)
        : config_(config), backends_(backends), names_(names) {}

    RunPlan make() {
        RunPlan plan;
        plan.sweep = config_.sweep();
        for (const std::vector<Assignment>& combination : combinations(plan.sweep)) add(combination, plan);
        if (plan.sweep.select && errors_.empty()) check_selection(plan);
        if (!errors_.empty()) throw ConfigErrors(errors_);
        if (plan.runs.empty()) throw Error::internal(config_.path(), ": the plan has no run");
        plan.name = plan.runs.front().settings.name;
        return plan;
    }

private:
    void add(std::vector<Assignment> combination, RunPlan& plan) {
        std::vector<Diagnostic> found;
        PlannedRun run;
        run.settings = config_.parse(combination, names_, found);
        report(found);
        if (!found.empty() || !resolve_shapes(run)) return;
        if (!plan.sweep.match.empty() && !match_budget(combination, run, plan)) return;
        try {
            run.count = count_adapter(run.shapes, run.settings.adapter);
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::config) throw;
            report({config_.diagnostic(key_of(error.what()), error.what())});
            return;
        }
        run.memory = estimate_memory(run.shapes, run.count, run.settings);
        run.id = run_identity(run.settings);
        run.assignments = std::move(combination);
        if (plan.sweep.select) place_in_selection(*plan.sweep.select, run);
        auto [first, fresh] = places_.emplace(run.id, plan.runs.size());
        if (fresh)
            plan.runs.push_back(std::move(run));
        else
            plan.notes.push_back(cat(describe(run.assignments), ": the same run as ",
                                     describe(plan.runs[first->second].assignments), " (",
                                     run.settings.adapter.method, " does not use what differs)"));
    }

    // The candidates of a selection differ on its axis (and on what a zip moves along with it), seeds are
    // pooled.
    void place_in_selection(const SelectSettings& select, PlannedRun& run) const {
        std::set<std::string> moving = {select.over, "seed"};
        for (const auto& zip : config_.sweep().zips) {
            bool holds = std::any_of(zip.begin(), zip.end(),
                                     [&](const auto& axis) { return axis.first == select.over; });
            for (const auto& axis : zip)
                if (holds) moving.insert(axis.first);
        }
        std::vector<Assignment> shared;
        for (const Assignment& assignment : run.assignments) {
            if (assignment.key == select.over) run.select_value = assignment.yaml;
            if (!moving.count(assignment.key)) shared.push_back(assignment);
        }
        run.select_group = describe(shared);
    }

    // The winner is the one with the lowest loss on the held-out examples: there must be an axis and such
    // examples.
    void check_selection(const RunPlan& plan) {
        const SelectSettings& select = *plan.sweep.select;
        for (const PlannedRun& run : plan.runs) {
            if (run.select_value.empty())
                report({config_.diagnostic("select",
                                           cat("expected an axis of the sweep with two values or more, ",
                                               select.over, " is none"))});
            else if (run.settings.train.data.empty() || run.settings.train.validation <= 0)
                report({config_.diagnostic("select",
                                           "expected train.validation above 0: the winner is chosen by the "
                                           "loss on held-out examples, never on the test set")});
            else
                continue;
            return;
        }
    }

    static std::string describe(const std::vector<Assignment>& combination) {
        std::vector<std::string> parts;
        for (const Assignment& assignment : combination)
            parts.push_back(assignment.key + "=" + assignment.yaml);
        return parts.empty() ? "the file itself" : join(parts, " ");
    }

    // A sweep repeats what is wrong in the file with every combination; it is said once.
    void report(const std::vector<Diagnostic>& found) {
        for (const Diagnostic& one : found)
            if (seen_
                    .insert(cat(one.mark.file, ':', one.mark.line, ':', one.mark.column, ':', one.key, ':',
                                one.message))
                    .second)
                errors_.push_back(one);
    }

    bool resolve_shapes(PlannedRun& run) {
        const BackendSettings& settings = run.settings.backend;
        std::string key =
            cat(settings.type, '\n', settings.checkpoint, '\n', settings.shape, '\n', settings.vision_tower);
        for (const auto& [name, value] : settings.options) key += cat('\n', name, '=', value);
        if (auto at = shapes_.find(key); at != shapes_.end()) {
            run.shapes = at->second;
            return true;
        }
        if (unresolved_.count(key)) return false;
        const char* place = settings.checkpoint.empty() ? "backend.shape" : "backend.checkpoint";
        try {
            if (!settings.checkpoint.empty()) resolve_checkpoint(settings.checkpoint);
        } catch (const Error& error) {
            unresolved_.insert(key);
            report({config_.diagnostic(place, error.what())});
            return false;
        }
        try {
            run.shapes = backends_.get(settings.type).shapes(settings);
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::config)
                throw; // a damaged checkpoint is not the configuration's fault
            unresolved_.insert(key);
            report({config_.diagnostic(place, error.what())});
            return false;
        }
        shapes_.emplace(key, run.shapes);
        return true;
    }

    // Only the key's own name in the message says which pattern met no site.
    static std::string key_of(const std::string& message) {
        for (const char* key :
             {"magnitude_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "train_also", "init"})
            if (message.find(key) != std::string::npos) return cat("adapter.", key);
        return "adapter.target_modules";
    }

    bool match_budget(std::vector<Assignment>& combination, PlannedRun& run, RunPlan& plan) {
        const std::string& method = run.settings.adapter.method;
        if (method == "ft" || method == "none") return true; // no rank: stands in the table as it is
        try {
            for (const auto& [what, amount] : plan.sweep.match) {
                int64_t rank = solve_rank(parse_budget(what, amount), run.shapes, run.settings);
                std::vector<Assignment> solved;
                for (const Assignment& assignment : combination)
                    if (assignment.key != "adapter.rank") solved.push_back(assignment);
                solved.push_back({"adapter.rank", cat(rank)});
                combination = solved;
            }
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::config) throw;
            report({config_.diagnostic("match", error.what())});
            return false;
        }
        std::vector<Diagnostic> found;
        run.settings =
            config_.parse(combination, names_, found); // scaling gives another alpha at another rank
        report(found);
        plan.notes.push_back(cat(method, ": rank ", run.settings.adapter.rank, " solved for the budget"));
        return found.empty();
    }

    const ConfigFile& config_;
    const Registry<BackendFactory>& backends_;
    const KnownNames& names_;
    std::vector<Diagnostic> errors_;
    std::set<std::string> seen_, unresolved_;
    std::map<std::string, ModelShapes> shapes_;
    std::map<std::string, size_t> places_;
};

} // namespace

std::vector<std::vector<Assignment>> combinations(const SweepSettings& sweep) {
    // each axis as a list of steps; a zip is one axis whose steps set several keys
    std::vector<std::vector<std::vector<Assignment>>> axes;
    for (const auto& [key, values] : sweep.axes) {
        auto& steps = axes.emplace_back();
        for (const std::string& value : values) steps.push_back({{key, value}});
    }
    for (const auto& zip : sweep.zips) {
        auto& steps = axes.emplace_back();
        for (const auto& [key, values] : zip) {
            if (&key != &zip.front().first && values.size() != steps.size())
                throw Error::config(
                    "sweep.zip: lists that move together must be equally long: ", zip.front().first, " has ",
                    steps.size(), " values, ", key, " has ", values.size());
            steps.resize(values.size());
            for (size_t i = 0; i < values.size(); ++i) steps[i].push_back({key, values[i]});
        }
    }
    std::vector<std::vector<Assignment>> out{{}};
    for (const auto& steps : axes) {
        if (out.size() * steps.size() > kMostCombinations)
            throw Error::config("sweep: expected at most ", kMostCombinations, " combinations, got ",
                                out.size() * steps.size(), " and more");
        std::vector<std::vector<Assignment>> longer;
        for (const auto& prefix : out)
            for (const auto& step : steps) {
                longer.push_back(prefix);
                longer.back().insert(longer.back().end(), step.begin(), step.end());
            }
        out = std::move(longer);
    }
    return out;
}

RunPlan make_plan(const ConfigFile& config, const Registry<BackendFactory>& backends,
                  const KnownNames& names) {
    return Planner(config, backends, names).make();
}

} // namespace dorabench
