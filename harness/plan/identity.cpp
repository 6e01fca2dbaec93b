#include "harness/base/text.h"
#include "harness/plan/plan.h"
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

void remove_key(nlohmann::json& object, const std::string& dotted) {
    size_t dot = dotted.find('.');
    if (!object.is_object()) return;
    if (dot == std::string::npos) {
        object.erase(dotted);
        return;
    }
    auto section = object.find(dotted.substr(0, dot));
    if (section != object.end()) remove_key(*section, dotted.substr(dot + 1));
}

} // namespace

std::string run_identity(const RunSettings& settings) {
    RunSettings canonical = settings;
    if (canonical.adapter.has_scaling) { // alpha is resolved from it
        canonical.adapter.has_alpha = true;
        canonical.adapter.has_scaling = false;
        canonical.adapter.scaling = 0;
    }
    for (std::string& plugin : canonical.plugins) plugin = plugin.substr(plugin.find_last_of('/') + 1);
    nlohmann::json json = settings_json(canonical);
    for (const char* key : {"name", "results", "data_dir", "train.save_every", "train.keep_every"})
        remove_key(json, key);
    for (const std::string& key : unused_keys(canonical)) remove_key(json, key);
    return sha256_hex(json.dump())
        .substr(0, 16); // nlohmann's objects are sorted by key: one text for one value
}

} // namespace dorabench
