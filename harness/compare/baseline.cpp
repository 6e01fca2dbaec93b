// The baseline file:
// {"schema_version","provenance","cells":[{"name","backbone","method","rank","task","settings",
// "trainable","noise_floor","runs":[evidence…]}]}. `settings` tells apart cells that share name, backbone,
// method and rank (a learning-rate axis, for example); empty where nothing needs telling apart.
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/compare/evidence.h"
#include "harness/compare/gate.h"
#include "harness/store/settings_keys.h"
#include <algorithm>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;

std::string place_of(const RunRecord& run) {
    return cat(run.name, '\n', run.backbone, '\n', run.method, '\n', run.rank);
}

bool tells_nothing(const std::string& key) { return shapes_no_result(key) || key == "evaluate.batch_size"; }

// The settings in which the groups of one place differ, for each group.
json telling_settings(const RunRecord& run, const std::vector<const RunRecord*>& place) {
    std::set<std::string> keys;
    for (const RunRecord* other : place) {
        for (const auto& [key, value] : other->settings)
            if (!tells_nothing(key) && setting(run, key) != value) keys.insert(key);
        for (const auto& [key, value] : run.settings)
            if (!tells_nothing(key) && setting(*other, key) != value) keys.insert(key);
    }
    json out = json::object();
    for (const std::string& key : keys) out[key] = setting(run, key);
    return out;
}

json cell_key(const json& cell) {
    json out = json::object();
    for (const char* key : {"name", "backbone", "method", "rank", "task", "settings"})
        out[key] = cell.contains(key) ? cell[key] : json();
    return out;
}

void require_usable(const RunRecord& run) {
    if (run.status != "done")
        throw Error::config("run ", run.id, " must be done to become a baseline, its status is ", run.status);
    if (run.partial)
        throw Error::config("run ", run.id,
                            " was evaluated with a limit; a partial run can't become a baseline: set "
                            "evaluate.limit to 0 and run it again");
    if (run.tasks.empty())
        throw Error::config("run ", run.id, " evaluated no task and can't become a baseline");
}

void add_run(const RunRecord& run, const json& settings, std::vector<json>& cells) {
    for (const auto& [task, result] : run.tasks) {
        json cell = {{"name", run.name},
                     {"backbone", run.backbone},
                     {"method", run.method},
                     {"rank", run.rank},
                     {"task", task},
                     {"settings", settings},
                     {"trainable", run.trainable},
                     {"noise_floor", nullptr},
                     {"runs", json::array()}};
        auto at = std::find_if(cells.begin(), cells.end(),
                               [&](const json& other) { return cell_key(other) == cell_key(cell); });
        if (at == cells.end()) at = cells.insert(cells.end(), std::move(cell));
        for (const json& other : (*at)["runs"])
            if (other["seed"] == run.seed)
                throw Error::config("runs ", other["run"].get<std::string>(), " and ", run.id,
                                    " are the same cell and seed; name the runs that make the baseline");
        (*at)["runs"].push_back(evidence_of(run, task));
    }
}

[[noreturn]] void damaged(const std::string& place, const char* expected) {
    throw Error::data("baseline: ", place, ": expected ", expected,
                      "; write the file anew with check --update");
}

void require_cell(const json& cell, const std::string& place) {
    if (!cell.is_object()) damaged(place, "an object");
    for (const char* key : {"name", "backbone", "method", "task"})
        if (!cell.contains(key) || !cell[key].is_string()) damaged(place + "." + key, "a string");
    for (const char* key : {"rank", "trainable"})
        if (!cell.contains(key) || !cell[key].is_number_integer()) damaged(place + "." + key, "an integer");
    if (!cell.contains("settings") || !cell["settings"].is_object())
        damaged(place + ".settings", "an object");
    for (const auto& [key, value] : cell["settings"].items())
        if (!value.is_string()) damaged(place + ".settings." + key, "a string");
    if (!cell.contains("runs") || !cell["runs"].is_array() || cell["runs"].empty())
        damaged(place + ".runs", "a list of at least one run");
    for (size_t i = 0; i < cell["runs"].size(); ++i)
        require_evidence(cell["runs"][i], cat(place, ".runs[", i, "]"));
    if (!cell.contains("noise_floor") || cell["noise_floor"].is_null()) return;
    const json& noise = cell["noise_floor"];
    if (!noise.is_object()) damaged(place + ".noise_floor", "an object or null");
    for (const auto& [source, entry] : noise.items())
        if (!entry.is_object() || !entry.contains("sd") || !entry["sd"].is_number() || entry["sd"] < 0 ||
            !entry.contains("n") || !entry["n"].is_number_integer() || entry["n"] < 2)
            damaged(place + ".noise_floor." + source, "{\"sd\": at least 0, \"n\": at least 2}");
}

} // namespace

json make_baseline(const std::vector<RunRecord>& runs, const json& earlier, const json& provenance) {
    if (runs.empty()) throw Error::config("a baseline needs at least one finished run, there is none");
    std::map<std::string, std::vector<const RunRecord*>> places;
    for (const RunRecord& run : runs) {
        require_usable(run);
        places[place_of(run)].push_back(&run);
    }
    std::vector<json> cells;
    for (const RunRecord& run : runs) add_run(run, telling_settings(run, places[place_of(run)]), cells);
    for (json& cell : cells) {
        std::sort(cell["runs"].begin(), cell["runs"].end(),
                  [](const json& a, const json& b) { return a["seed"] < b["seed"]; });
        if (earlier.is_object())
            for (const json& old : earlier["cells"])
                if (cell_key(old) == cell_key(cell) && old.contains("noise_floor"))
                    cell["noise_floor"] = old["noise_floor"];
    }
    std::sort(cells.begin(), cells.end(), [](const json& a, const json& b) {
        return cell_key(a) < cell_key(b);
    }); // a stable file for diffs
    return {{"schema_version", kSchemaVersion}, {"provenance", provenance}, {"cells", cells}};
}

json read_baseline(const std::string& path) {
    json baseline = json::parse(read_file(path, size_t(1) << 30), nullptr, false);
    if (baseline.is_discarded())
        throw Error::data(path,
                          ": expected a baseline in JSON, the file is damaged; check --update writes it");
    try {
        if (!baseline.is_object()) damaged("file", "an object");
        if (!baseline.contains("schema_version") || baseline["schema_version"] != kSchemaVersion)
            throw Error::data("baseline: expected schema_version ", kSchemaVersion, ", got ",
                              baseline.contains("schema_version") ? baseline["schema_version"].dump()
                                                                  : "none");
        if (!baseline.contains("cells") || !baseline["cells"].is_array() || baseline["cells"].empty())
            damaged("cells", "a list of at least one cell");
        for (size_t i = 0; i < baseline["cells"].size(); ++i)
            require_cell(baseline["cells"][i], cat("cells[", i, "]"));
    } catch (const Error& error) {
        throw Error::data(path, ": ", error.what());
    }
    return baseline;
}

json* find_cell(json& baseline, const RunRecord& run, const std::string& task) {
    for (json& cell : baseline["cells"]) {
        bool same = cell["name"] == run.name && cell["backbone"] == run.backbone &&
                    cell["method"] == run.method && cell["rank"] == run.rank && cell["task"] == task;
        if (same)
            for (const auto& [key, value] : cell["settings"].items())
                same = same && setting(run, key) == value;
        if (same) return &cell;
    }
    return nullptr;
}

} // namespace dorabench
