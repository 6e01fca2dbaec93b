#include "backends/nn/frozen_linear.h"
#include "harness/base/error.h"

namespace dorabench {

FrozenLinear frozen_linear(const Weights& weights, const PackedWeights& packed, const std::string& path,
                           bool bias) {
    auto tensor = [&](const std::string& name) -> const at::Tensor& {
        const auto at = weights.find(name);
        if (at == weights.end()) throw Error::internal("weights: ", name, " was not loaded");
        return at->second;
    };
    const at::Tensor b = bias ? tensor(path + ".bias") : at::Tensor();
    if (const auto at = packed.find(path + ".weight"); at != packed.end()) return FrozenLinear(at->second, b);
    return FrozenLinear(tensor(path + ".weight"), b);
}

} // namespace dorabench
