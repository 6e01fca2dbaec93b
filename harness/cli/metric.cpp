// `metric NAME --references FILE --predictions FILE`: one metric on its own, as JSON.
#include "tasks/metrics/metric.h"
#include "harness/base/error.h"
#include "harness/cli/commands.h"
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {

int metric_command(const MetricOptions& options, const Globals&) {
    const Metric metric = find_metric(options.name);
    if (options.references.empty()) throw Error::config("metric: --references FILE expected, it is missing");
    if (options.predictions.empty())
        throw Error::config("metric: --predictions FILE expected, it is missing");
    const bool tools = !options.meteor_data.empty() || !options.spice_jar.empty();
    if (tools && metric.name != "caption")
        throw Error::config(
            "metric: --meteor-data and --spice-jar expected with the metric caption alone, got ",
            metric.name);
    const MetricValues values = tools ? caption_metric(options.references, options.predictions,
                                                       {options.meteor_data, options.spice_jar})
                                      : metric.compute(options.references, options.predictions);
    nlohmann::ordered_json out = nlohmann::ordered_json::object();
    for (const auto& [name, measured] : values) {
        auto number = [&](double value) -> nlohmann::ordered_json {
            if (measured.missing || !std::isfinite(value)) return nullptr;
            return value;
        };
        out[name] = {
            {"value", number(measured.value)}, {"stderr", number(measured.stderr_)}, {"n", measured.n}};
    }
    std::cout << out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    return 0;
}

} // namespace dorabench
