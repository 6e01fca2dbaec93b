#pragma once
// run --dry-run: about how long a training takes on this machine, before anything is trained. The operations
// of its steps (2 a multiply-add of the linear layers: forward and the input's gradient, and the weights'
// where they are trained), every row max_length tokens long, at the speed of a matrix product measured just
// now. Evaluation is not in it.
#include "harness/api/registries.h"
#include "harness/plan/plan.h"
#include "tasks/catalog.h"
#include <map>
#include <optional>

namespace dorabench {

class TimeEstimate {
public:
    explicit TimeEstimate(const TaskCatalog& catalog) : catalog_(catalog) {}
    // Seconds; nullopt where nothing is trained, the data that its epochs count is not there (or damaged), or
    // the device is not to be had.
    std::optional<double> training_seconds(const PlannedRun& run);

private:
    std::optional<int64_t> steps(const RunSettings& settings);
    double flops_per_second(const BackendSettings& backend);

    const TaskCatalog& catalog_;
    std::map<std::string, int64_t> examples_;
    std::map<std::string, double> speeds_; // by device and dtype
};

} // namespace dorabench
