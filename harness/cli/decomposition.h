#pragma once
// Weight decomposition of arXiv:2402.09353, section 3.2, by output row n of a weight [out, in]:
//   ΔM = mean_n | ||w'_n|| - ||w_n|| |      ΔD = mean_n (1 - cos(w'_n, w_n))
// with Pearson's correlation of (ΔD, ΔM) over weights (interval by Fisher's z, 95 %) and the slope of ΔM on
// ΔD; beyond the paper: where the rows' norms moved to, and the singular values of the update. float64
// throughout.
#include <ATen/core/Tensor.h>
#include <optional>
#include <string>
#include <vector>

namespace dorabench {

struct WeightChange { // of one weight
    std::string name;
    double delta_m = 0, delta_d = 0;
    double norm_mean = 0, norm_low = 0,
           norm_high = 0;                 // (||w'_n|| - ||w_n||) / ||w_n||: mean, 5 % and 95 % quantile
    std::vector<double> singular_values;  // of w' - w, largest first; where asked for
    std::string module() const;           // "q_proj" of "model.layers.3.self_attn.q_proj.weight"
    std::optional<int64_t> layer() const; // 3
};

struct Relation {
    std::optional<double> pearson, slope, low,
        high; // none where one of the two does not vary; interval: four weights or more
};

// spectrum: how many singular values to keep; 0: none (a 4096 x 4096 update takes a minute of one core).
WeightChange decompose(const std::string& name, const at::Tensor& base, const at::Tensor& tuned,
                       int64_t spectrum = 0);
Relation relate(const std::vector<const WeightChange*>& weights);

} // namespace dorabench
