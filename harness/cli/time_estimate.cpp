#include "harness/cli/time_estimate.h"
#include "backends/ops/device.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/cli/bench_ops.h"
#include "harness/train/train.h"

namespace dorabench {

std::optional<int64_t> TimeEstimate::steps(const RunSettings& settings) {
    const TrainSettings& train = settings.train;
    if (train.max_steps > 0) return total_steps_of(train, 0);
    int64_t batches = 0; // an epoch's
    for (const DataSource& source : train.data) {
        const std::string key = cat(source.name, '\n', settings.data_dir, '\n', train.template_name);
        if (!examples_.contains(key)) {
            TaskOptions options;
            options.data_dir = settings.data_dir;
            options.template_name = train.template_name;
            options.seed = settings.seed;
            try {
                examples_[key] = static_cast<int64_t>(catalog_.training_pairs(source.name, options).size());
            } catch (const Error&) {
                examples_[key] = 0; // the run itself says what is wrong with it
            }
        }
        const int64_t held_out = &source == &train.data.front() ? train.validation : 0;
        const int64_t examples = examples_[key] - held_out;
        if (examples <= 0) return std::nullopt;
        const int64_t batch = source.batch_size > 0 ? source.batch_size : train.batch_size;
        batches += (examples + batch - 1) / batch;
    }
    return total_steps_of(train, batches);
}

double TimeEstimate::flops_per_second(const BackendSettings& backend) {
    const std::string key = backend.device + " " + backend.dtype;
    if (!speeds_.contains(key))
        speeds_[key] = product_flops_per_second(resolve_device(backend.device), parse_dtype(backend.dtype));
    return speeds_[key];
}

std::optional<double> TimeEstimate::training_seconds(const PlannedRun& run) {
    const RunSettings& settings = run.settings;
    if (settings.train.data.empty()) return std::nullopt;
    const std::optional<int64_t> count = steps(settings);
    if (!count) return std::nullopt;
    double linear = 0;
    for (const ParameterShape& p : run.shapes.parameters)
        if ((p.linear || p.head) && p.shape.size() == 2)
            linear += static_cast<double>(p.shape[0]) * static_cast<double>(p.shape[1]);
    const double tokens =
        static_cast<double>(settings.train.batch_size) * static_cast<double>(settings.train.max_length);
    const double products = settings.adapter.method == "ft" ? 3 : 2;
    try {
        return 2 * products * tokens * linear * static_cast<double>(*count) /
               flops_per_second(settings.backend);
    } catch (const Error&) {
        return std::nullopt; // no such device here
    }
}

} // namespace dorabench
