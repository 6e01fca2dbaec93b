#include "harness/compare/compare.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <set>

namespace dorabench {
namespace {

struct Side {
    std::map<std::string, Runs> groups; // by what they share but the seed
    bool method = false;                // named as a method rather than a run
};

bool names_method(const std::string& word, const RunRecord& run) {
    size_t colon = word.find(':');
    if (word.substr(0, colon) != run.method) return false;
    if (colon == std::string::npos) return true;
    std::string rank = word.substr(colon + 1);
    return rank == std::to_string(run.rank) || rank == "r" + std::to_string(run.rank);
}

const RunRecord& one_run(const std::vector<RunRecord>& store, const std::string& word) {
    std::vector<const RunRecord*> fits;
    for (const RunRecord& run : store) {
        if (run.id == word) return run;
        if (!word.empty() && (starts_with(run.id, word) || run.name == word)) fits.push_back(&run);
    }
    std::vector<std::string> ids;
    for (const RunRecord* run : fits)
        ids.push_back(cat(run->id, " (", method_label(*run), ", seed ", run->seed, ", ", run->status, ")"));
    if (fits.size() > 1)
        throw Error::config("\"", word, "\" must name one run, it fits ", fits.size(), ": ", join(ids, ", "));
    if (fits.empty()) {
        std::vector<std::string> names;
        for (const RunRecord& run : store)
            for (const std::string& name : {run.id, run.method, cat(run.method, ':', run.rank)})
                names.push_back(name);
        throw Error::config("expected a run or a method of the store, got \"", word, "\"",
                            did_you_mean(word, names), "; `list runs` names them all");
    }
    return *fits.front();
}

Side find_side(const std::vector<RunRecord>& store, const std::string& word) {
    Side side;
    for (const RunRecord& run : store)
        if (run.status == "done" && names_method(word, run)) side.groups[run.group].push_back(run);
    if (!side.groups.empty()) {
        side.method = true;
        return side;
    }
    const RunRecord& run = one_run(store, word);
    if (run.status != "done")
        throw Error::config("run ", run.id, " must be done to be compared, its status is ", run.status);
    side.groups[run.group] = {run};
    return side;
}

// Seeds that both have; runs of one each belong together whatever their seeds.
std::pair<Runs, Runs> paired_by_seed(const Runs& a, const Runs& b) {
    if (a.size() == 1 && b.size() == 1) return {a, b};
    Runs left, right;
    for (const RunRecord& one : a)
        for (const RunRecord& other : b)
            if (one.seed == other.seed) {
                left.push_back(one);
                right.push_back(other);
                break;
            }
    if (left.empty())
        throw Error::config("the two sides must share a seed, they have none in common: ", side_label(a),
                            ", ", side_label(b));
    return {left, right};
}

std::string describe(const Runs& runs) {
    const RunRecord& run = runs.front();
    return cat(run.id, " (", method_label(run), ", learning rate ", run.learning_rate, ", ", run.backbone,
               ")");
}

// What two groups of different methods must share to stand side by side, loosest last.
std::string place_of(const RunRecord& run) { return cat(run.name, '\n', run.backbone, '\n', run.rank); }

using GroupPair = std::pair<const Runs*, const Runs*>;

std::vector<GroupPair> pair_groups(const Side& a, const Side& b, const std::string& word_a,
                                   const std::string& word_b) {
    if (a.groups.size() == 1 && b.groups.size() == 1)
        return {{&a.groups.begin()->second, &b.groups.begin()->second}};
    std::map<std::string, std::vector<const Runs*>> left, right;
    for (const auto& [group, runs] : a.groups) left[place_of(runs.front())].push_back(&runs);
    for (const auto& [group, runs] : b.groups) right[place_of(runs.front())].push_back(&runs);
    std::vector<GroupPair> out;
    std::vector<std::string> unclear;
    for (const auto& [place, mine] : left) {
        auto at = right.find(place);
        if (at == right.end()) continue;
        if (mine.size() == 1 && at->second.size() == 1) {
            out.push_back({mine.front(), at->second.front()});
            continue;
        }
        for (const std::vector<const Runs*>* all :
             {&mine, static_cast<const std::vector<const Runs*>*>(&at->second)})
            for (const Runs* runs : *all) unclear.push_back(describe(*runs));
    }
    if (!unclear.empty())
        throw Error::config(
            "runs of ", word_a, " and ", word_b,
            " at one rank must differ in the seed alone, name one of each: ", join(unclear, ", "));
    if (out.empty()) {
        for (const Side* side : {&a, &b})
            for (const auto& [group, runs] : side->groups) unclear.push_back(describe(runs));
        throw Error::config("no run of ", word_a, " stands beside one of ", word_b,
                            " (same name, backbone and rank); name one of each: ", join(unclear, ", "));
    }
    std::sort(out.begin(), out.end(), [](const GroupPair& x, const GroupPair& y) {
        return std::tie(x.first->front().backbone, x.first->front().rank) <
               std::tie(y.first->front().backbone, y.first->front().rank);
    });
    return out;
}

std::vector<PairedTask> compare_tasks(const Runs& a, const Runs& b) {
    std::vector<PairedTask> out;
    for (const auto& [task, result] : a.front().tasks) {
        std::vector<SamplePair> pairs;
        for (size_t i = 0; i < a.size(); ++i) {
            auto left = read_samples(a[i].path, task), right = read_samples(b[i].path, task);
            if (left && right) pairs.push_back({a[i].seed, std::move(*left), std::move(*right)});
        }
        PairedTask compared = compare_task(task, pairs);
        compared.chance = result.chance;
        compared.has_chance = result.has_chance;
        if (compared.n > 0) out.push_back(std::move(compared));
    }
    if (out.empty())
        throw Error::data("samples/ of ", a.front().path, " and ", b.front().path,
                          ": expected answers to the same items, the two sides share none");
    return out;
}

MeanDifference mean_difference(const std::vector<const PairedTask*>& tasks) {
    MeanDifference out;
    double variance = 0, count = static_cast<double>(tasks.size());
    out.tasks = tasks.size();
    if (tasks.empty()) return out;
    for (const PairedTask* task : tasks) {
        out.difference += task->difference / count;
        variance += task->standard_error * task->standard_error / (count * count);
    }
    double half = normal_quantile(0.975) * std::sqrt(variance);
    out.low = out.difference - half;
    out.high = out.difference + half;
    return out;
}

PairReport compare_pair(const Runs& a, const Runs& b, const std::vector<RunRecord>& store) {
    PairReport out;
    std::tie(out.a, out.b) = paired_by_seed(a, b);
    out.tasks = compare_tasks(out.a, out.b);
    std::vector<const PairedTask*> all, sound;
    for (const PairedTask& task : out.tasks) {
        all.push_back(&task);
        if (!task.below_chance_a() && !task.below_chance_b()) sound.push_back(&task);
    }
    out.average = mean_difference(all);
    if (!sound.empty() && sound.size() < all.size()) out.average_above_chance = mean_difference(sound);
    out.warnings = fairness_warnings({{"A", &out.a}, {"B", &out.b}}, store);
    if (a.size() != out.a.size() || b.size() != out.b.size())
        out.warnings.push_back(cat("seeds: only the ", out.a.size(),
                                   " that both sides have are compared (A has ", a.size(), ", B ", b.size(),
                                   ")"));
    for (const PairedTask& task : out.tasks) {
        if (task.other_prompt > 0)
            out.warnings.push_back(cat("prompts: ", task.other_prompt, " of ", task.n, " answers of ",
                                       task.task, " were asked in other words"));
        if (task.only_a + task.only_b > 0)
            out.warnings.push_back(cat("items: ", task.only_a + task.only_b, " of ", task.task,
                                       " that one side alone answered are left out"));
    }
    return out;
}

ParetoPoint point_of(const Runs& runs) {
    ParetoPoint out;
    out.label = side_label(runs);
    double count = static_cast<double>(runs.size());
    for (const RunRecord& run : runs) {
        out.runs.push_back(run.id);
        out.average += run.average / count;
        out.train_seconds += run.train_seconds / count;
        out.peak_memory_bytes = std::max(out.peak_memory_bytes, run.peak_memory_bytes);
    }
    out.trainable = runs.front().trainable;
    out.stored_bytes = runs.front().stored_bytes;
    return out;
}

template <typename Cost>
void mark_front(std::vector<ParetoPoint>& points, Cost cost, bool ParetoPoint::*flag) {
    for (ParetoPoint& point : points) {
        auto mine = cost(point);
        point.*flag = mine > 0 && std::none_of(points.begin(), points.end(), [&](const ParetoPoint& other) {
                          auto theirs = cost(other);
                          return theirs > 0 && other.average >= point.average && theirs <= mine &&
                                 (other.average > point.average || theirs < mine);
                      });
    }
}

} // namespace

std::string side_label(const Runs& runs) {
    const RunRecord& run = runs.front();
    return cat(method_label(run),
               runs.size() == 1 ? cat(" (", run.id, ")") : cat(" (", runs.size(), " seeds)"));
}

void mark_pareto(std::vector<ParetoPoint>& points) {
    mark_front(
        points, [](const ParetoPoint& p) { return p.trainable; }, &ParetoPoint::front_trainable);
    mark_front(
        points, [](const ParetoPoint& p) { return p.stored_bytes; }, &ParetoPoint::front_stored);
    mark_front(
        points, [](const ParetoPoint& p) { return p.train_seconds; }, &ParetoPoint::front_seconds);
    mark_front(
        points, [](const ParetoPoint& p) { return p.peak_memory_bytes; }, &ParetoPoint::front_memory);
}

std::vector<ParetoPoint> pareto_points(const std::vector<Runs>& groups) {
    std::vector<ParetoPoint> out;
    for (const Runs& runs : groups) out.push_back(point_of(runs));
    mark_pareto(out);
    return out;
}

CompareReport compare_sides(const std::vector<RunRecord>& store, const std::string& a, const std::string& b) {
    Side left = find_side(store, a), right = find_side(store, b);
    CompareReport out;
    std::vector<PairedTask*> all;
    for (const auto& [mine, theirs] : pair_groups(left, right, a, b))
        out.pairs.push_back(compare_pair(*mine, *theirs, store));
    for (PairReport& pair : out.pairs)
        for (PairedTask& task : pair.tasks) all.push_back(&task);
    adjust_by_holm(all);
    if (!left.method && !right.method) return out;
    std::set<std::string> seen;
    std::vector<Runs> groups;
    for (const Side* side : {&left, &right})
        for (const auto& [group, runs] : side->groups)
            if (runs.front().has_average && seen.insert(group).second) groups.push_back(runs);
    out.pareto = pareto_points(groups);
    return out;
}

} // namespace dorabench
