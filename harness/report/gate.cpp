#include "harness/report/gate.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/report/paired.h"
#include <algorithm>
#include <cmath>

namespace dorabench {
namespace {

using nlohmann::json;
constexpr double kAlpha = 0.05;

std::string label_of(const RunRecord& run) {
    return cat(run.backbone, " ", run.method, run.rank > 0 ? cat(" r", run.rank) : "", " seed ", run.seed);
}

// Settings that change what is asked or how it is scored.
json evaluation_of(const RunRecord& run) {
    json out = json::object();
    for (const auto& [key, value] : run.settings)
        if (starts_with(key, "evaluate.") && key != "evaluate.tasks" && key != "evaluate.batch_size")
            out[key] = value;
    return out;
}

std::string fingerprint_of(const RunRecord& run, const std::string& task) {
    json metrics = json::parse(read_file(run.path + "/metrics.json"), nullptr, false);
    json none;
    if (!metrics.is_object()) return "";
    const json& entry = metrics.value("tasks", json::object()).value(task, json::object());
    return entry.is_object() && entry.contains("fingerprint") && entry["fingerprint"].is_string()
               ? entry["fingerprint"].get<std::string>()
               : "";
}

std::string ids_hash(const ScoresById& scores) {
    std::string all;
    for (const auto& [id, score] : scores) all += id + "\n";
    return sha256_hex(all);
}

// One character an item, in the order of the ids, where all scores are 0 or 1.
json binary_scores(const ScoresById& scores) {
    std::string out;
    for (const auto& [id, score] : scores) {
        if (score != 0 && score != 1) return nullptr;
        out += score == 1 ? '1' : '0';
    }
    return out;
}

json task_entry(const RunRecord& run, const std::string& task, const TaskResult& result) {
    auto measured = result.metrics.find(result.primary);
    bool present = measured != result.metrics.end() && !measured->second.missing;
    json out = {{"metric", result.primary},
                {"n", result.n},
                {"fingerprint", fingerprint_of(run, task)},
                {"value", present ? json(measured->second.value) : json()},
                {"stderr", present ? json(measured->second.stderr_) : json()},
                {"items", nullptr},
                {"scores", nullptr}};
    if (auto scores = read_scores(run.path, task); scores && !scores->empty()) {
        out["items"] = ids_hash(*scores);
        out["scores"] = binary_scores(*scores);
    }
    return out;
}

json entry_of(const RunRecord& run) {
    json tasks = json::object();
    for (const auto& [task, result] : run.tasks) tasks[task] = task_entry(run, task, result);
    return {{"label", label_of(run)},
            {"run", run.id},
            {"backbone", run.backbone},
            {"method", run.method},
            {"rank", run.rank},
            {"seed", run.seed},
            {"evaluate", evaluation_of(run)},
            {"trainable", run.trainable},
            {"tasks", tasks}};
}

double drop_p_by_errors(const json& before, const json& now) {
    double drop = before["value"].get<double>() - now["value"].get<double>();
    auto error_of = [](const json& entry) {
        return entry["stderr"].is_number() ? entry["stderr"].get<double>() : 0;
    };
    double error = std::hypot(error_of(before), error_of(now));
    if (drop <= 0) return 1;
    return error > 0 ? 0.5 * std::erfc(drop / error / std::sqrt(2.0)) : 0;
}

double mean_of_bits(const std::string& bits) {
    return bits.empty() ? 0
                        : static_cast<double>(std::count(bits.begin(), bits.end(), '1')) /
                              static_cast<double>(bits.size());
}

// One-sided: how likely is a drop at least this large where nothing changed?
double drop_p(const json& before, const json& now) {
    bool paired = before["scores"].is_string() && now["scores"].is_string() &&
                  before["scores"].get_ref<const std::string&>().size() ==
                      now["scores"].get_ref<const std::string&>().size();
    if (!paired) return drop_p_by_errors(before, now);
    const std::string &old_bits = before["scores"].get_ref<const std::string&>(),
                      &new_bits = now["scores"].get_ref<const std::string&>();
    int64_t lost = 0, won = 0;
    for (size_t i = 0; i < old_bits.size(); ++i) {
        lost += old_bits[i] == '1' && new_bits[i] == '0';
        won += old_bits[i] == '0' && new_bits[i] == '1';
    }
    double p = lost > won ? mcnemar_counts(lost, won).p_exact / 2 : 1;
    // metrics.json and samples/ tell of the same run only where they agree; where not, either may show the
    // drop
    bool agree = std::abs(mean_of_bits(new_bits) - now["value"].get<double>()) < 1e-6;
    return agree ? p : std::min(p, drop_p_by_errors(before, now));
}

void compare_task(const json& entry, const json& found, const std::string& task, GateCell& cell) {
    const json& before = entry["tasks"][task];
    if (!found["tasks"].contains(task)) {
        cell.verdict = "missing";
        cell.message = "the run did not evaluate this task";
        return;
    }
    const json& now = found["tasks"][task];
    for (const char* field : {"fingerprint", "metric", "n", "items"})
        if (before.value(field, json()) != now.value(field, json())) cell.differing.push_back(field);
    for (const auto& [key, value] : entry["evaluate"].items())
        if (!found["evaluate"].contains(key) || found["evaluate"][key] != value)
            cell.differing.push_back(key);
    for (const auto& [key, value] : found["evaluate"].items())
        if (!entry["evaluate"].contains(key)) cell.differing.push_back(key);
    if (!cell.differing.empty()) {
        cell.verdict = "incomparable";
        cell.message = "differs from the baseline in " + join(cell.differing, ", ");
        return;
    }
    if (!before["value"].is_number() || !now["value"].is_number()) {
        cell.verdict = before["value"] == now["value"] ? "pass" : "missing";
        cell.message = cell.verdict == "pass" ? "" : "no value";
        return;
    }
    cell.baseline = before["value"];
    cell.value = now["value"];
    cell.p = drop_p(before, now);
}

void judge(std::vector<GateCell>& cells) {
    std::vector<double> p;
    for (const GateCell& cell : cells)
        if (cell.verdict.empty()) p.push_back(cell.p);
    p = holm(p);
    size_t at = 0;
    for (GateCell& cell : cells) {
        if (!cell.verdict.empty()) continue;
        cell.p = p[at++];
        cell.verdict = cell.value < cell.baseline && cell.p < kAlpha ? "regressed" : "pass";
        cell.message = cat(fixed(cell.baseline, 4), " to ", fixed(cell.value, 4), ", p ",
                           cell.p < 0.001 ? "<0.001" : fixed(cell.p, 3));
    }
}

void require_shape(const json& baseline) {
    if (!baseline.is_object() || baseline.value("schema_version", 0) != kSchemaVersion ||
        !baseline.contains("runs") || !baseline["runs"].is_array())
        throw Error::data("baseline: expected {\"schema_version\": ", kSchemaVersion,
                          ", \"runs\": […]} as check --update writes it");
    for (const json& entry : baseline["runs"]) {
        bool sound = entry.is_object() && entry.value("label", json()).is_string() &&
                     entry.value("tasks", json()).is_object() && entry.value("evaluate", json()).is_object();
        if (sound)
            for (const auto& [task, cell] : entry["tasks"].items())
                sound = sound && cell.is_object() && cell.contains("value") && cell.contains("stderr") &&
                        cell.contains("scores");
        if (!sound)
            throw Error::data("baseline: an entry of \"runs\" is damaged; write it anew with check --update");
    }
}

// The very run if it is there, else the newest with this label, a finished one first.
const RunRecord* find_entry(const json& entry, const std::vector<RunRecord>& runs) {
    const RunRecord* found = nullptr;
    for (const RunRecord& run : runs) {
        if (entry.value("run", json()) == run.id) return &run;
        if (label_of(run) == entry["label"] && (!found || run.status == "done" || found->status != "done"))
            found = &run;
    }
    return found;
}

std::string xml(const std::string& text) {
    std::string out;
    for (char c : text) {
        if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else if (c == '"')
            out += "&quot;";
        else if (static_cast<unsigned char>(c) >= 32 || c == '\n')
            out += c;
    }
    return out;
}

} // namespace

json make_baseline(const std::vector<RunRecord>& runs) {
    json out = {{"schema_version", kSchemaVersion}, {"runs", json::array()}};
    for (const RunRecord& run : runs) {
        if (run.status != "done")
            throw Error::config("run ", run.id, " must be done to become a baseline, its status is ",
                                run.status);
        if (run.partial)
            throw Error::config("run ", run.id,
                                " was evaluated with a limit; a partial run can't become a baseline");
        out["runs"].push_back(entry_of(run));
    }
    if (out["runs"].empty())
        throw Error::config("a baseline needs at least one finished run, the store has none");
    return out;
}

std::vector<GateCell> check_against(const json& baseline, const std::vector<RunRecord>& runs,
                                    bool only_given) {
    require_shape(baseline);
    std::vector<GateCell> cells;
    for (const json& entry : baseline["runs"]) {
        std::string label = entry["label"];
        const RunRecord* found = find_entry(entry, runs);
        if (!found && only_given) continue;
        if (!found || found->status != "done") {
            cells.push_back({found ? found->id : "",
                             label,
                             "",
                             "missing",
                             {},
                             0,
                             0,
                             1,
                             found ? "the run's status is " + found->status : "no such run in the store"});
            continue;
        }
        json now = entry_of(*found);
        for (const auto& [task, cell] : entry["tasks"].items()) {
            cells.push_back({found->id, label, task, "", {}, 0, 0, 1, ""});
            compare_task(entry, now, task, cells.back());
        }
    }
    judge(cells);
    return cells;
}

int gate_exit_code(const std::vector<GateCell>& cells) {
    for (const auto& [verdict, code] : {std::pair{"regressed", 3}, {"incomparable", 4}, {"missing", 5}})
        for (const GateCell& cell : cells)
            if (cell.verdict == verdict) return code;
    return 0;
}

std::string gate_junit(const std::vector<GateCell>& cells) {
    size_t failures = 0, errors = 0;
    for (const GateCell& cell : cells) {
        failures += cell.verdict == "regressed";
        errors += cell.verdict == "incomparable" || cell.verdict == "missing";
    }
    std::string out =
        cat("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"dora-bench check\" tests=\"",
            cells.size(), "\" failures=\"", failures, "\" errors=\"", errors, "\">\n");
    for (const GateCell& cell : cells) {
        out += cat("  <testcase classname=\"", xml(cell.label), "\" name=\"",
                   xml(cell.task.empty() ? "run" : cell.task), "\"");
        std::string element = cell.verdict == "regressed" ? "failure" : "error";
        out += cell.verdict == "pass" ? "/>\n"
                                      : cat(">\n    <", element, " type=\"", cell.verdict, "\" message=\"",
                                            xml(cell.message), "\"/>\n  </testcase>\n");
    }
    return out + "</testsuite>\n";
}

json gate_json(const std::vector<GateCell>& cells) {
    json rows = json::array();
    for (const GateCell& cell : cells)
        rows.push_back({{"run", cell.run},
                        {"label", cell.label},
                        {"task", cell.task},
                        {"verdict", cell.verdict},
                        {"differing", cell.differing},
                        {"baseline", cell.baseline},
                        {"value", cell.value},
                        {"p", cell.p},
                        {"message", cell.message}});
    const char* verdicts[] = {"pass", "", "", "regressed", "incomparable", "missing"};
    return {
        {"schema_version", kSchemaVersion}, {"verdict", verdicts[gate_exit_code(cells)]}, {"cells", rows}};
}

} // namespace dorabench
