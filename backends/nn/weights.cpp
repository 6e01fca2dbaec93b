#include "backends/nn/weights.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include <cmath>
#include <numbers>
#include <set>

namespace dorabench {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
    std::vector<std::string> parts;
    for (int64_t size : shape) parts.push_back(std::to_string(size));
    return "[" + join(parts, ", ") + "]";
}

std::string some(const std::vector<std::string>& names) {
    std::vector<std::string> shown(names.begin(), names.begin() + std::min<size_t>(names.size(), 5));
    return cat(join(shown, ", "), names.size() > shown.size()
                                      ? cat(" and ", names.size() - shown.size(), " more")
                                      : std::string());
}

at::Tensor copy_in(const Checkpoint::Place& place, const std::string& name, const ParameterShape& want,
                   const WeightOptions& options) {
    if (place.entry.shape != want.shape)
        throw Error::data(place.file->path(), ": ", name, " must have shape ", shape_text(want.shape),
                          " by config.json, has ", shape_text(place.entry.shape));
    const at::ScalarType stored = scalar_type(place.entry.dtype);
    if (stored != at::kFloat && stored != at::kHalf && stored != at::kBFloat16 && stored != at::kDouble)
        throw Error::data(place.file->path(), ": ", name, " must be F32, F16, BF16 or F64, is ",
                          dtype_name(place.entry.dtype));
    at::Tensor mapped = map_tensor(place.file, place.entry);
    return mapped.to(at::TensorOptions().dtype(options.dtype).device(options.device), false, true);
}

// splitmix64's finaliser: a good hash of the counter
uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

} // namespace

Weights load_weights(const std::string& checkpoint, const std::vector<ParameterShape>& parameters,
                     const WeightOptions& options) {
    const Checkpoint file = Checkpoint::open(checkpoint);
    Weights weights;
    std::set<std::string> taken;
    std::vector<std::string> missing, unexpected;
    std::vector<std::pair<const ParameterShape*, const Checkpoint::Place*>> found;
    for (const ParameterShape& parameter : parameters) {
        const Checkpoint::Place* place = nullptr;
        for (const std::string& name :
             options.names ? options.names(parameter.name) : std::vector{parameter.name})
            if ((place = file.find(name))) {
                taken.insert(name);
                break;
            }
        if (place)
            found.emplace_back(&parameter, place);
        else
            missing.push_back(parameter.name);
    }
    for (const auto& [name, place] : file.tensors())
        if (!taken.count(name) && !(options.ignorable && options.ignorable(name))) unexpected.push_back(name);
    if (!missing.empty())
        throw Error::data(checkpoint, ": ", missing.size(), " of ", parameters.size(),
                          " parameters are missing: ", some(missing),
                          unexpected.empty() ? std::string() : cat("; not expected: ", some(unexpected)));
    if (!unexpected.empty())
        throw Error::data(checkpoint, ": ", unexpected.size(),
                          " tensors belong to no parameter of this architecture: ", some(unexpected));
    for (const auto& [parameter, place] : found)
        weights[parameter->name] = copy_in(*place, parameter->name, *parameter, options);
    return weights;
}

void fill_normal(at::Tensor& tensor, uint64_t seed, double std) {
    float* data = tensor.mutable_data_ptr<float>();
    const int64_t n = tensor.numel();
    const float width = static_cast<float>(std);
    at::parallel_for(0, (n + 1) / 2, 1 << 15, [&](int64_t begin, int64_t end) {
        for (int64_t pair = begin; pair < end; ++pair) { // Box-Muller
            const uint64_t bits = mix(seed + 0x9E3779B97F4A7C15ull * static_cast<uint64_t>(pair + 1));
            const float u = (static_cast<float>(bits >> 40) + 0.5f) * 0x1p-24f,
                        v = static_cast<float>((bits >> 8) & 0xFFFFFF) * 0x1p-24f;
            const float radius = width * std::sqrt(-2.0f * std::log(u)),
                        angle = 2.0f * std::numbers::pi_v<float> * v;
            data[2 * pair] = radius * std::cos(angle);
            if (2 * pair + 1 < n) data[2 * pair + 1] = radius * std::sin(angle);
        }
    });
}

Weights random_weights(uint64_t seed, const std::vector<ParameterShape>& parameters,
                       const WeightOptions& options, double std) {
    Weights weights;
    for (const ParameterShape& parameter : parameters) {
        at::Tensor tensor = at::empty(parameter.shape, at::kFloat);
        if (parameter.shape.size() > 1)
            fill_normal(tensor, stream_seed(seed, "weights/" + parameter.name), std);
        else
            tensor.fill_(ends_with(parameter.name, ".bias") ? 0.0 : 1.0);
        weights[parameter.name] = tensor.to(at::TensorOptions().dtype(options.dtype).device(options.device));
    }
    return weights;
}

} // namespace dorabench
