// Run folders as records: what tables, lists and comparisons are made of.
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/store/settings_keys.h"
#include "harness/store/store.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <yaml-cpp/yaml.h>

namespace dorabench {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string text_of(const json& object, const char* key) {
    auto at = object.find(key);
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

double number_of(const json& object, const char* key) {
    auto at = object.find(key);
    if (at == object.end() || !at->is_number()) return 0;
    double value = at->get<double>();
    return std::isfinite(value) ? value : 0;
}

int64_t integer_of(const json& object, const char* key) {
    auto at = object.find(key);
    if (at != object.end() && at->is_number_integer()) return at->get<int64_t>();
    return static_cast<int64_t>(std::clamp(number_of(object, key), -9e15, 9e15));
}

std::optional<json> json_file(const std::string& path) {
    if (!exists(path)) return std::nullopt;
    try {
        return json::parse(read_file(path, size_t(256) << 20), nullptr, false); // discarded where damaged
    } catch (const Error&) {
        return json(json::value_t::discarded);
    }
}

// Maps give "a.b", lists one flow text: enough to compare settings and to show them.
void flatten(const YAML::Node& node, const std::string& prefix, int depth,
             std::map<std::string, std::string>& out) {
    if (depth > 32) return;
    if (node.IsMap()) {
        for (const auto& item : node) {
            std::string key = item.first.as<std::string>("");
            flatten(item.second, prefix.empty() ? key : prefix + "." + key, depth + 1, out);
        }
    } else if (node.IsSequence()) {
        YAML::Emitter flow;
        flow << YAML::Flow << node;
        out[prefix] = flow.c_str();
    } else if (node.IsScalar()) {
        out[prefix] = node.Scalar();
    }
}

std::map<std::string, std::string> read_settings(const std::string& path) {
    std::map<std::string, std::string> out;
    if (!exists(path)) return out;
    try {
        flatten(YAML::Load(read_file(path, size_t(16) << 20)), "", 0, out);
    } catch (const std::exception& error) {
        log::warning(path, ": expected the run's settings as YAML, the file is damaged: ", error.what());
    }
    return out;
}

std::string group_of(const RunRecord& record) {
    std::string text;
    for (const auto& [key, value] : record.settings)
        if (!shapes_no_result(key)) text += key + "=" + value + "\n";
    if (record.settings.empty())
        text = cat(record.backend, "\n", record.backbone, "\n", record.method, "\n", record.rank);
    return sha256_hex(text).substr(0, 16);
}

void fill_from_metrics(const json& metrics, RunRecord& record) {
    record.status = text_of(metrics, "status");
    if (record.status.empty()) record.status = "damaged";
    record.error = text_of(metrics, "error");
    record.name = text_of(metrics, "name");
    record.backend = text_of(metrics, "backend");
    record.backbone = text_of(metrics, "backbone");
    record.method = text_of(metrics, "method");
    record.rank = integer_of(metrics, "rank");
    record.seed = static_cast<uint64_t>(integer_of(metrics, "seed"));
    auto seed = metrics.find("seed");
    if (seed != metrics.end() && seed->is_number_unsigned()) record.seed = seed->get<uint64_t>();
    record.trainable = integer_of(metrics, "trainable");
    record.total = integer_of(metrics, "total");
    record.percent_of_total = number_of(metrics, "percent_of_total");
    record.stored_bytes = integer_of(metrics, "stored_bytes");
    record.peak_memory_bytes = integer_of(metrics, "peak_memory_bytes");
    record.train_seconds = number_of(metrics, "train_seconds");
    record.learning_rate = number_of(metrics, "learning_rate");
    auto partial = metrics.find("partial");
    record.partial = partial != metrics.end() && partial->is_boolean() && partial->get<bool>();
    auto tasks = metrics.find("tasks");
    if (tasks != metrics.end() && tasks->is_object())
        for (const auto& [name, entry] : tasks->items()) record.tasks[name] = task_result_from_json(entry);
    auto average = metrics.find("average");
    record.has_average = average != metrics.end() && average->is_number();
    if (record.has_average) record.average = average->get<double>();
}

// What a selection chose this run by, or instead of this run (metrics.json's "selected_by").
void fill_from_selection(const json& metrics, bool peek, RunRecord& record) {
    auto train = metrics.find("train");
    if (train != metrics.end() && train->is_object())
        if (auto loss = train->find("validation_loss"); loss != train->end() && loss->is_number())
            record.validation_loss = loss->get<double>();
    auto selection = metrics.find("selected_by");
    if (selection == metrics.end() || !selection->is_object()) return;
    auto candidates = selection->find("candidates");
    if (candidates == selection->end() || !candidates->is_array()) return;
    const std::string winner = text_of(*selection, "winner"), by = text_of(*selection, "by"),
                      chosen = text_of(*selection, "over") + "=" + winner;
    for (const json& candidate : *candidates) {
        if (!candidate.is_object() || text_of(candidate, "value") != winner) continue;
        auto runs = candidate.find("runs");
        if (runs != candidate.end() &&
            std::find(runs->begin(), runs->end(), json(record.id)) != runs->end()) {
            record.chosen_by = cat(chosen, ", chosen of ", candidates->size(), " by ", by);
            return;
        }
    }
    if (!peek) withhold(record, chosen, by);
}

// What metrics.json does not say (older or interrupted runs) stands in the settings.
void fill_from_settings(RunRecord& record) {
    auto setting = [&](const char* key) {
        auto at = record.settings.find(key);
        return at == record.settings.end() || at->second == "null" || at->second == "~" ? std::string()
                                                                                        : at->second;
    };
    auto whole = [&](const char* key) {
        std::string text = setting(key);
        return text.empty() ? 0 : std::strtoll(text.c_str(), nullptr, 10);
    };
    if (record.name.empty()) record.name = setting("name");
    if (record.backend.empty()) record.backend = setting("backend.type");
    if (record.method.empty()) {
        record.method = setting("adapter.method");
        if (record.method != "ft" && record.method != "none") record.rank = whole("adapter.rank");
        record.seed = std::strtoull(setting("seed").c_str(), nullptr, 10);
    }
    if (record.learning_rate == 0)
        record.learning_rate = std::strtod(setting("train.learning_rate").c_str(), nullptr);
    record.partial = record.partial || whole("evaluate.limit") > 0;
    if (!record.backbone.empty()) return;
    record.backbone = setting("backend.shape");
    if (!record.backbone.empty()) return;
    fs::path checkpoint = fs::path(setting("backend.checkpoint")).lexically_normal();
    record.backbone = checkpoint.has_filename() ? checkpoint.filename().string()
                                                : checkpoint.parent_path().filename().string();
}

} // namespace

void withhold(RunRecord& record, const std::string& chosen, const std::string& by) {
    record.status = "not selected";
    record.error = cat(chosen, " was chosen by ", by,
                       record.tasks.empty() ? "; this candidate's test set was not scored"
                                            : "; test scores of the others are withheld (--allow-peek)");
    record.tasks.clear();
    record.has_average = false;
    record.average = 0;
    record.chosen_by.clear();
}

RunRecord read_run(const std::string& folder, bool peek) {
    RunRecord record;
    record.path = folder;
    record.id = fs::path(folder).lexically_normal().filename().string();
    record.settings = read_settings(folder + "/config.yaml");
    std::optional<json> metrics = json_file(folder + "/metrics.json");
    if (!metrics) {
        record.status = "incomplete";
    } else if (!metrics->is_object()) {
        record.status = "damaged";
        record.error = "metrics.json is not readable JSON; remove the file and run the configuration again";
    } else {
        fill_from_metrics(*metrics, record);
        fill_from_selection(*metrics, peek, record);
    }
    fill_from_settings(record);
    std::optional<json> provenance = json_file(folder + "/provenance.json");
    if (provenance && provenance->is_object()) {
        record.commit = text_of(*provenance, "commit");
        record.device = text_of(*provenance, "device");
        record.started = text_of(*provenance, "started");
    }
    record.group = group_of(record);
    return record;
}

std::vector<RunRecord> read_runs(const std::string& results, bool peek) {
    std::vector<RunRecord> out;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(results + "/runs", ignored))
        if (entry.is_directory(ignored)) out.push_back(read_run(entry.path().string(), peek));
    std::sort(out.begin(), out.end(), [](const RunRecord& a, const RunRecord& b) {
        return std::tie(a.started, a.id) < std::tie(b.started, b.id);
    });
    return out;
}

std::optional<RunRecord> find_run(const std::string& results, const std::string& wanted, bool peek) {
    std::vector<RunRecord> by_prefix, by_name;
    for (RunRecord& record : read_runs(results, peek)) {
        if (record.id == wanted) return record;
        if (!wanted.empty() && starts_with(record.id, wanted)) by_prefix.push_back(record);
        if (record.name == wanted) by_name.push_back(std::move(record));
    }
    std::vector<RunRecord>& fits = by_prefix.empty() ? by_name : by_prefix;
    if (fits.empty()) return std::nullopt;
    if (fits.size() > 1) {
        std::vector<std::string> ids;
        for (const RunRecord& record : fits)
            ids.push_back(
                cat(record.id, " (", record.method, " r", record.rank, ", seed ", record.seed, ")"));
        throw Error::config("\"", wanted, "\" must name one run, it fits ", fits.size(), ": ",
                            join(ids, ", "));
    }
    return std::move(fits.front());
}

} // namespace dorabench
