#include "harness/compare/gate.h"
#include "harness/base/error.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include "harness/compare/evidence.h"
#include "tasks/metrics/statistics.h"
#include <algorithm>
#include <cmath>

namespace dorabench {
namespace {

using nlohmann::json;
using Values = std::vector<double>;
constexpr int kFlips = 10000;

struct SeedPair { // one seed of a cell, before and now
    json before, now;
};

double mean_of(const Values& values) {
    double sum = 0;
    for (double value : values) sum += value;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// Losses (before - now) item by item, averaged over the seeds where all asked the same items.
Values item_losses(const std::vector<SeedPair>& pairs, Values (*read)(const json&)) {
    Values out;
    bool same = true;
    for (const SeedPair& pair : pairs)
        same = same && pair.before["items"] == pairs.front().before["items"] &&
               pair.before["prompt_hash"] == pairs.front().before["prompt_hash"];
    for (const SeedPair& pair : pairs) {
        Values before = read(pair.before), now = read(pair.now);
        if (before.size() != now.size()) return {};
        if (same && out.empty()) out.assign(before.size(), 0);
        if (same && out.size() != before.size()) return {};
        for (size_t i = 0; i < before.size(); ++i) {
            double loss = before[i] - now[i];
            if (same)
                out[i] += loss / static_cast<double>(pairs.size());
            else
                out.push_back(loss);
        }
    }
    return out;
}

// How likely is a loss at least this large where nothing changed? Losses of -1, 0 and 1: McNemar's exact
// test, which is the flip test with all flips counted; else random flips.
double one_sided_p(const Values& losses, const std::string& stream) {
    Values moved;
    int64_t lost = 0, won = 0;
    bool whole = true;
    double total = 0;
    for (double loss : losses) {
        if (std::abs(loss) < 1e-12) continue;
        moved.push_back(loss);
        total += loss;
        lost += loss > 0;
        won += loss < 0;
        whole = whole && std::abs(std::abs(loss) - 1) < 1e-12;
    }
    if (total <= 1e-12) return 1;
    if (whole) return mcnemar_counts(lost, won).p_exact / 2;
    Rng rng(0, "gate " + stream);
    int64_t as_large = 0;
    for (int flip = 0; flip < kFlips; ++flip) {
        double sum = 0;
        uint64_t bits = 0;
        for (size_t i = 0; i < moved.size(); ++i) {
            if (i % 64 == 0) bits = rng.next();
            sum += (bits >> (i % 64)) & 1 ? moved[i] : -moved[i];
        }
        as_large += sum >= total - 1e-9;
    }
    return static_cast<double>(as_large + 1) / (kFlips + 1.0); // what was seen is one of the flips
}

double p_by_errors(const SeedPair& pair) {
    if (!pair.before["value"].is_number() || !pair.now["value"].is_number()) return 1;
    double drop = pair.before["value"].get<double>() - pair.now["value"].get<double>();
    auto error_of = [](const json& e) { return e["stderr"].is_number() ? e["stderr"].get<double>() : 0.0; };
    double error = std::hypot(error_of(pair.before), error_of(pair.now));
    if (drop <= 0) return 1;
    return error > 0 ? 0.5 * std::erfc(drop / error / std::sqrt(2.0)) : 0;
}

double student_tail(double t, double degrees) { // P(T > t), t >= 0, by inverting the quantile
    double low = 1e-15, high = 0.5;
    for (int i = 0; i < 60; ++i) {
        double middle = (low + high) / 2;
        (student_t_quantile(1 - middle, degrees) > t ? low : high) = middle;
    }
    return (low + high) / 2;
}

struct Noise { // of the mean over the seeds of one side
    double deviation = 0, degrees = 0;
};

Noise noise_of(const json& cell) {
    Noise out;
    auto floor = cell.find("noise_floor");
    if (floor == cell.end() || !floor->is_object()) return out;
    double variance = 0, degrees = 1e9;
    for (const auto& [source, entry] : floor->items()) {
        double sd = entry["sd"];
        variance += sd * sd;
        if (sd > 0) degrees = std::min(degrees, entry["n"].get<double>() - 1);
    }
    out.deviation = std::sqrt(variance);
    out.degrees = degrees;
    return out;
}

bool agrees(const json& evidence) {
    Values scores = scores_of(evidence);
    return evidence["value"].is_number() && !scores.empty() &&
           std::abs(mean_of(scores) - evidence["value"].get<double>()) < 1e-6;
}

double value_of(const json& evidence) {
    return evidence["value"].is_number() ? evidence["value"].get<double>() : mean_of(scores_of(evidence));
}

// Fills values and raw p values of a cell whose seeds are comparable.
void measure(const json& cell, const std::vector<SeedPair>& pairs, double alpha, GateCell& out) {
    double seeds = static_cast<double>(pairs.size());
    Values losses = item_losses(pairs, scores_of), unparsed = item_losses(pairs, parsed_of);
    out.p = losses.empty() ? 1 : one_sided_p(losses, out.label + out.task);
    out.unparsed_p = unparsed.empty() ? 1 : one_sided_p(unparsed, "unparsed " + out.label + out.task);
    for (const SeedPair& pair : pairs) {
        double before = value_of(pair.before), now = value_of(pair.now);
        if (losses.empty()) {
            out.p = std::min(out.p, std::min(1.0, seeds * p_by_errors(pair)));
        } else if (agrees(pair.before) && !agrees(pair.now)) {
            // the two files tell of different runs: either may show the loss
            out.p = std::min(out.p, p_by_errors(pair));
            now = std::min(now, mean_of(scores_of(pair.now)));
            out.message = "metrics.json and samples/ disagree; ";
        }
        out.baseline += before / seeds;
        out.value += now / seeds;
        out.unparsed_before += pair.before["unparsed"].get<int64_t>();
        out.unparsed_now += pair.now["unparsed"].get<int64_t>();
    }
    Noise noise = noise_of(cell);
    if (noise.deviation > 0) {
        double spread = noise.deviation * std::sqrt(2 / seeds), drop = out.baseline - out.value;
        out.noise_floor = spread * student_t_quantile(1 - alpha, noise.degrees);
        out.p = std::max(out.p, drop > 0 ? student_tail(drop / spread, noise.degrees) : 1);
    }
}

double resolvable_by(const std::vector<SeedPair>& pairs, double alpha) { // one-sided alpha
    Values losses = item_losses(pairs, scores_of);
    if (losses.empty()) return 0;
    double squares = 0, n = static_cast<double>(losses.size());
    for (double loss : losses) squares += loss * loss;
    double moved = std::clamp(std::max(squares, 3.0) / n, 0.0, 1.0); // rule of three where nothing moved
    return minimum_detectable_difference(static_cast<int64_t>(losses.size()), moved, 2 * alpha);
}

std::string label_of(const json& cell) {
    std::string out = cat(cell["name"].get<std::string>(), " ", cell["backbone"].get<std::string>(), " ",
                          cell["method"].get<std::string>());
    if (cell["rank"].get<int64_t>() > 0) out += cat(" r", cell["rank"].get<int64_t>());
    for (const auto& [key, value] : cell["settings"].items())
        out += cat(" ", key.substr(key.find('.') + 1), "=", value.get<std::string>());
    return trim(out);
}

class Gate {
public:
    Gate(const json& baseline, const std::vector<RunRecord>& runs, bool chosen)
        : baseline_(baseline), runs_(runs), chosen_(chosen) {}

    GateReport make() {
        for (json& cell : baseline_["cells"]) add(cell);
        if (chosen_ && report_.cells.empty())
            throw Error::config(
                "none of the given runs has a cell in the baseline: names, backbones, methods and "
                "ranks must be the baseline's, or --update writes it anew");
        judge();
        for (const RunRecord& run : runs_)
            if (run.status == "done")
                for (const auto& [task, result] : run.tasks)
                    if (!find_cell(baseline_, run, task)) add_new(run, task, result);
        return std::move(report_);
    }

private:
    // The very run, else the newest finished one of this cell and seed, else an unfinished one.
    const RunRecord* run_for(const json& cell, const json& evidence) const {
        const RunRecord* found = nullptr;
        for (const RunRecord& run : runs_) {
            bool same = cell["name"] == run.name && cell["backbone"] == run.backbone &&
                        cell["method"] == run.method && cell["rank"] == run.rank &&
                        evidence["seed"] == run.seed;
            for (const auto& [key, value] : cell["settings"].items())
                same = same && setting(run, key) == value;
            if (!same) continue;
            if (evidence.value("run", json()) == run.id && run.status == "done") return &run;
            if (!found || run.status == "done" || found->status != "done") found = &run;
        }
        return found;
    }

    void add(const json& cell) {
        GateCell out;
        out.label = label_of(cell);
        out.task = cell["task"];
        out.trainable_before = out.trainable_now = cell["trainable"];
        std::vector<SeedPair> pairs;
        std::vector<std::string> missing;
        for (const json& evidence : cell["runs"]) {
            const RunRecord* run = run_for(cell, evidence);
            if (!run && chosen_) continue;
            std::string seed = cat("seed ", evidence["seed"].get<uint64_t>());
            if (!run) {
                missing.push_back(seed + ": no such run in the store");
            } else if (run->status != "done") {
                missing.push_back(cat(seed, ": the status of run ", run->id, " is ", run->status));
            } else if (!run->tasks.count(out.task)) {
                missing.push_back(cat(seed, ": run ", run->id, " did not evaluate this task"));
            } else {
                out.runs.push_back(run->id);
                if (run->trainable != out.trainable_before) out.trainable_now = run->trainable;
                pairs.push_back({evidence, evidence_of(*run, out.task)});
            }
        }
        if (pairs.empty() && missing.empty()) return;
        decide(cell, pairs, missing, out);
    }

    void decide(const json& cell, std::vector<SeedPair>& pairs, const std::vector<std::string>& missing,
                GateCell& out) {
        for (const SeedPair& pair : pairs)
            for (const std::string& field : differing_fields(pair.before, pair.now))
                if (std::find(out.differing.begin(), out.differing.end(), field) == out.differing.end())
                    out.differing.push_back(field);
        if (!missing.empty()) {
            out.verdict = "missing";
            out.message = join(missing, "; ");
        } else if (!out.differing.empty()) {
            out.verdict = "incomparable";
            out.message = "differs from the baseline in " + join(out.differing, ", ");
        } else {
            measure(cell, pairs, report_.alpha, out);
        }
        report_.cells.push_back(std::move(out));
        pairs_.push_back(std::move(pairs));
    }

    void judge() {
        Values p;
        for (const GateCell& cell : report_.cells)
            if (cell.verdict.empty()) p.insert(p.end(), {cell.p, cell.unparsed_p});
        p = holm(p);
        size_t at = 0, tests = std::max<size_t>(1, p.size());
        for (size_t i = 0; i < report_.cells.size(); ++i) {
            GateCell& cell = report_.cells[i];
            if (!cell.verdict.empty()) continue;
            cell.p = p[at++];
            cell.unparsed_p = p[at++];
            cell.resolvable = resolvable_by(pairs_[i], report_.alpha / static_cast<double>(tests));
            bool drop = cell.value < cell.baseline && cell.p < report_.alpha;
            bool unparsed = cell.unparsed_now > cell.unparsed_before && cell.unparsed_p < report_.alpha;
            bool counts = cell.trainable_now != cell.trainable_before;
            cell.verdict = drop || unparsed || counts ? "regressed" : "pass";
            cell.message += cat(fixed(100 * cell.baseline, 2), " to ", fixed(100 * cell.value, 2), ", p ",
                                cell.p < 0.001 ? "<0.001" : fixed(cell.p, 3));
            if (unparsed)
                cell.message += cat("; unparsed answers ", cell.unparsed_before, " to ", cell.unparsed_now);
            if (counts)
                cell.message += cat("; trainable parameters ", with_commas(cell.trainable_before), " to ",
                                    with_commas(cell.trainable_now));
        }
    }

    void add_new(const RunRecord& run, const std::string& task, const TaskResult& result) {
        GateCell out;
        out.label =
            trim(cat(run.name, " ", run.backbone, " ", run.method, run.rank > 0 ? cat(" r", run.rank) : ""));
        out.task = task;
        out.runs = {run.id};
        out.verdict = "new";
        auto measured = result.metrics.find(result.primary);
        if (measured != result.metrics.end() && !measured->second.missing) out.value = measured->second.value;
        out.message = "not in the baseline; check --update takes it in";
        report_.cells.push_back(std::move(out));
    }

    json baseline_;
    const std::vector<RunRecord>& runs_;
    bool chosen_;
    GateReport report_;
    std::vector<std::vector<SeedPair>> pairs_; // by cell
};

} // namespace

std::string GateReport::verdict() const {
    bool incomparable = false;
    for (const GateCell& cell : cells) {
        if (cell.verdict == "regressed" || cell.verdict == "missing") return "regressed";
        incomparable = incomparable || cell.verdict == "incomparable";
    }
    return incomparable ? "incomparable" : "pass";
}

int GateReport::exit_code() const {
    std::string all = verdict();
    return all == "regressed" ? 3 : all == "incomparable" ? 4 : 0;
}

GateReport check_against(const json& baseline, const std::vector<RunRecord>& runs, bool chosen) {
    GateReport report = Gate(baseline, runs, chosen).make();
    if (auto at = baseline.find("provenance"); at != baseline.end() && at->is_object()) {
        auto text = [&](const char* key) {
            auto value = at->find(key);
            return value != at->end() && value->is_string() ? value->get<std::string>()
                                                            : std::string("unknown");
        };
        report.notes.push_back(cat("baseline: written ", text("created"), " by version ", text("version"),
                                   ", commit ", text("commit")));
    }
    return report;
}

} // namespace dorabench
