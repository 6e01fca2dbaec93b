#pragma once
// VeRA (arXiv:2310.11454): W' = W + diag(lambda_b) B diag(lambda_d) A with one frozen random pair A, B for
// the whole model, and DVoRA (arXiv:2402.09353, section 5.4): the same direction under DoRA's magnitude. No
// alpha.
#include "adapters/choose_sites.h"
#include "adapters/site_layer.h"

namespace dorabench {

// The pair as HF PEFT draws it, to the bit: one CPU generator seeded with the key, A [rank, max_in] first,
// then B [max_out, rank], each uniform within sqrt(6 / fan_in).
Projections draw_projections(int64_t rank, int64_t max_in, int64_t max_out, int64_t key);
// Sets A and B, and the copies in the base's dtype on its device.
void set_projections(Projections& projections, const at::Tensor& a, const at::Tensor& b,
                     const FrozenLinear& base);
// lambda_d [r] at d_initial, lambda_b [out] at zero.
void init_vera(AdaptedSite& parts, const SiteChoice& site, double d_initial, at::Device device);

} // namespace dorabench
