#include "harness/cli/decomposition.h"
#include "harness/base/text.h"
#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svdvals.h>
#include <algorithm>
#include <cmath>

namespace dorabench {
namespace {

constexpr int64_t kChunkElements = 1 << 21; // of a weight that are widened to float64 at a time
constexpr double kVaries = 1e-6; // a standard deviation below this is float32 rounding, not variation

double quantile(const std::vector<double>& sorted, double p) {
    if (sorted.empty()) return 0;
    double at = p * static_cast<double>(sorted.size() - 1);
    auto below = static_cast<size_t>(at);
    double share = at - static_cast<double>(below);
    return sorted[below] + (below + 1 < sorted.size() ? share * (sorted[below + 1] - sorted[below]) : 0);
}

} // namespace

std::string WeightChange::module() const {
    std::vector<std::string> parts = split(name, '.');
    if (parts.size() > 1 && parts.back() == "weight") parts.pop_back();
    return parts.back();
}

std::optional<int64_t> WeightChange::layer() const {
    for (const std::string& part : split(name, '.'))
        if (!part.empty() && part.size() < 9 && part.find_first_not_of("0123456789") == std::string::npos)
            return std::stoll(part);
    return std::nullopt;
}

WeightChange decompose(const std::string& name, const at::Tensor& base, const at::Tensor& tuned,
                       int64_t spectrum) {
    const int64_t out = base.size(0),
                  step = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(base.size(1), 1));
    double magnitude = 0, direction = 0;
    std::vector<double> moved;
    for (int64_t row = 0; row < out; row += step) {
        const int64_t rows = std::min(step, out - row);
        const at::Tensor a = base.narrow(0, row, rows).to(at::kDouble),
                         b = tuned.narrow(0, row, rows).to(at::kDouble);
        const at::Tensor m = (a * a).sum(1).sqrt(), n = (b * b).sum(1).sqrt(), product = m * n;
        magnitude += (n - m).abs().sum().item<double>();
        // A row of zeros has no direction: unchanged if it stays zero, turned fully if it does not.
        const at::Tensor cosine = (a * b).sum(1) / product.masked_fill(product == 0, 1);
        const at::Tensor turned = (1 - cosine).clamp_min(0);
        direction += turned.masked_fill((m == 0).logical_and(n == 0), 0).sum().item<double>();
        const at::Tensor relative = ((n - m) / m.masked_fill(m == 0, 1)).contiguous();
        const double* values = relative.const_data_ptr<double>();
        moved.insert(moved.end(), values, values + rows);
    }
    const double count = double(std::max<int64_t>(out, 1));
    WeightChange change{name, magnitude / count, direction / count};
    for (double value : moved) change.norm_mean += value / count;
    std::sort(moved.begin(), moved.end());
    change.norm_low = quantile(moved, 0.05);
    change.norm_high = quantile(moved, 0.95);
    if (spectrum > 0) {
        const at::Tensor values =
            at::linalg_svdvals(tuned.to(at::kDouble) - base.to(at::kDouble)).contiguous();
        const double* first = values.const_data_ptr<double>();
        change.singular_values.assign(first, first + std::min<int64_t>(values.numel(), spectrum));
    }
    return change;
}

Relation relate(const std::vector<const WeightChange*>& weights) {
    const double n = double(weights.size());
    double mean_d = 0, mean_m = 0, dd = 0, mm = 0, dm = 0;
    for (const WeightChange* weight : weights) mean_d += weight->delta_d / n, mean_m += weight->delta_m / n;
    for (const WeightChange* weight : weights) {
        const double d = weight->delta_d - mean_d, m = weight->delta_m - mean_m;
        dd += d * d, mm += m * m, dm += d * m;
    }
    Relation relation;
    if (weights.size() < 2 || std::sqrt(dd / n) <= kVaries || std::sqrt(mm / n) <= kVaries) return relation;
    const double r = dm / std::sqrt(dd * mm);
    relation.pearson = r;
    relation.slope = dm / dd;
    if (weights.size() < 4) return relation;
    const double z = std::atanh(std::clamp(r, -1 + 1e-15, 1 - 1e-15)),
                 half = 1.959963984540054 / std::sqrt(n - 3);
    relation.low = std::tanh(z - half);
    relation.high = std::tanh(z + half);
    return relation;
}

} // namespace dorabench
