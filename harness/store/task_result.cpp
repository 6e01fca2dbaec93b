#include "harness/store/store.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

json number(double value) { return std::isfinite(value) ? json(value) : json(); }

double double_of(const json& object, const char* key, double otherwise) {
    auto at = object.find(key);
    return at != object.end() && at->is_number() ? at->get<double>() : otherwise;
}

int64_t count_of(const json& object, const char* key) {
    return static_cast<int64_t>(std::clamp(double_of(object, key, 0), 0.0, 9e15));
}

Measurement measurement_from(const json& entry) {
    Measurement out;
    const json& value = entry.at("value");
    out.missing = !value.is_number();
    out.value = out.missing ? 0 : value.get<double>();
    out.stderr_ = double_of(entry, "stderr", 0);
    out.n = count_of(entry, "n");
    out.ci_low = out.ci_high = out.value;
    auto interval = entry.find("ci95");
    if (interval != entry.end() && interval->is_array() && interval->size() == 2 &&
        (*interval)[0].is_number() && (*interval)[1].is_number()) {
        out.ci_low = (*interval)[0].get<double>();
        out.ci_high = (*interval)[1].get<double>();
    }
    return out;
}

} // namespace

json task_result_json(const TaskResult& result) {
    json out = json::object();
    for (const auto& [name, metric] : result.metrics) {
        if (metric.missing || !std::isfinite(metric.value)) {
            out[name] = {{"value", nullptr}, {"stderr", nullptr}, {"ci95", nullptr}, {"n", metric.n}};
            continue;
        }
        json interval = json::array({number(metric.ci_low), number(metric.ci_high)});
        out[name] = {
            {"value", metric.value}, {"stderr", number(metric.stderr_)}, {"ci95", interval}, {"n", metric.n}};
    }
    out["primary"] = result.primary;
    out["n"] = result.n;
    out["unparsed"] = result.unparsed;
    out["cut_prompts"] = result.cut_prompts;
    out["chance"] = result.has_chance ? number(result.chance) : json();
    auto primary = result.metrics.find(result.primary);
    bool judged = result.has_chance && primary != result.metrics.end() && !primary->second.missing &&
                  std::isfinite(primary->second.value);
    out["below_chance"] = judged ? json(primary->second.value < result.chance) : json();
    return out;
}

TaskResult task_result_from_json(const json& entry) {
    TaskResult out;
    if (!entry.is_object()) return out;
    for (const auto& [name, value] : entry.items())
        if (value.is_object() && value.contains("value")) out.metrics[name] = measurement_from(value);
    auto primary = entry.find("primary");
    if (primary != entry.end() && primary->is_string())
        out.primary = primary->get<std::string>();
    else if (out.metrics.count("accuracy"))
        out.primary = "accuracy";
    else if (!out.metrics.empty())
        out.primary = out.metrics.begin()->first;
    out.unparsed = count_of(entry, "unparsed");
    out.cut_prompts = count_of(entry, "cut_prompts");
    auto measured = out.metrics.find(out.primary);
    out.n = entry.contains("n")             ? count_of(entry, "n")
            : measured != out.metrics.end() ? measured->second.n
                                            : 0;
    auto chance = entry.find("chance");
    out.has_chance = chance != entry.end() && chance->is_number();
    if (out.has_chance) out.chance = chance->get<double>();
    return out;
}

} // namespace dorabench
