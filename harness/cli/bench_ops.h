#pragma once
// bench --ops: each op of a training step on its own, on the shapes of a model, and the roofline of the
// machine that all fractions refer to.
#include "harness/api/backend.h"
#include "harness/cli/commands.h"
#include <nlohmann/json.hpp>

namespace dorabench {

// What this machine reached a moment ago: a square product, and a copy of buffers that no cache holds (bytes
// read plus bytes written).
struct Roofline {
    double flops_per_second = 0, bytes_per_second = 0;
    // The least time that so many operations and bytes can take (Williams et al., CACM 2009), in seconds.
    double seconds(double flops, double bytes) const {
        return std::max(flops / flops_per_second, bytes / bytes_per_second);
    }
};
Roofline measure_roofline(const at::Device& device, at::ScalarType type);
// Of the same square product alone, which is quick.
double product_flops_per_second(const at::Device& device, at::ScalarType type);

// One line an op: op, shape, seconds (median), seconds_min, flops, bytes (the least that it must move),
// roofline_fraction, bound ("compute" or "memory").
std::vector<nlohmann::ordered_json> bench_ops(const ModelShapes& shapes, const BenchOptions& options,
                                              const at::Device& device, at::ScalarType type,
                                              const Roofline& roofline);

} // namespace dorabench
