#include "adapters/vera.h"
#include <ATen/CPUGeneratorImpl.h>
#include <cmath>

namespace dorabench {

Projections draw_projections(int64_t rank, int64_t max_in, int64_t max_out, int64_t key) {
    at::NoGradGuard no_grad;
    at::Generator random = at::make_generator<at::CPUGeneratorImpl>(uint64_t(key));
    auto draw = [&](int64_t rows, int64_t columns) {
        // Python's order of operations, for the same bits: gain / sqrt(fan_in), then times sqrt(3).
        const double deviation = std::sqrt(2.0) / std::sqrt(double(columns)),
                     bound = std::sqrt(3.0) * deviation;
        return at::empty({rows, columns}, at::kFloat).uniform_(-bound, bound, random);
    };
    Projections drawn;
    drawn.A = draw(rank, max_in);
    drawn.B = draw(max_out, rank);
    return drawn;
}

void set_projections(Projections& projections, const at::Tensor& a, const at::Tensor& b,
                     const FrozenLinear& base) {
    projections.A = a.to(base.device(), at::kFloat);
    projections.B = b.to(base.device(), at::kFloat);
    projections.A_used = projections.A.to(base.dtype());
    projections.B_used = projections.B.to(base.dtype());
}

void init_vera(AdaptedSite& parts, const SiteChoice& site, double d_initial, at::Device device) {
    const at::TensorOptions options = at::TensorOptions(at::kFloat).device(device);
    parts.lambda_d = at::full({site.rank}, d_initial, options).set_requires_grad(true);
    parts.lambda_b = at::zeros({site.out}, options).set_requires_grad(true);
}

} // namespace dorabench
