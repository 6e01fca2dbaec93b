#pragma once
// A backbone's weights by their names, and the frozen linear layers that models make of them.
#include "backends/ops/linear_site.h"
#include <map>
#include <memory>
#include <string>

namespace dorabench {

using Weights = std::map<std::string, at::Tensor>;
using PackedWeights = std::map<std::string, std::shared_ptr<const Nf4Weight>>;

// "<path>.weight" and, where asked for, "<path>.bias", as a frozen layer: in NF4 where `packed` has the
// weight. Both maps hold what load_weights() or random_weights() (weights.h) gave; a name in neither is an
// internal error.
FrozenLinear frozen_linear(const Weights& weights, const PackedWeights& packed, const std::string& path,
                           bool bias);

} // namespace dorabench
