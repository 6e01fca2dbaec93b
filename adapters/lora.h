#pragma once
// Initial values of the low-rank pair: LoRA (arXiv:2106.09685), its DoRA form (arXiv:2402.09353) and PiSSA
// (arXiv:2404.02948). A magnitude starts at the norm of the row as adapted, so that the first gain is
// exactly 1.
#include "adapters/choose_sites.h"
#include "adapters/site_layer.h"

namespace dorabench {

// A and B as leaves on the base's device, float32, for a site with low_rank. init:
//   kaiming   A ~ U(-1/sqrt(in), 1/sqrt(in)), B = 0        gaussian   A ~ N(0, (1/r)^2), B = 0     (as HF
//   PEFT) pissa     the r largest singular directions of W over the scaling, split evenly between A and B
// seed: of this site's own random stream.
void init_low_rank(AdaptedSite& parts, const SiteChoice& site, const std::string& init,
                   const FrozenLinear& base, uint64_t seed);
// W - s B A in W's dtype, computed in float32: what a base becomes under PiSSA.
at::Tensor pissa_residual(const at::Tensor& weight, const at::Tensor& a, const at::Tensor& b, double scaling);

} // namespace dorabench
