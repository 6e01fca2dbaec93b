#include "adapters/lora.h"
#include "backends/ops/compose.h"
#include "harness/base/error.h"
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <algorithm>
#include <cmath>

namespace dorabench {

void init_low_rank(AdaptedSite& parts, const SiteChoice& site, const std::string& init,
                   const FrozenLinear& base, uint64_t seed) {
    at::NoGradGuard no_grad;
    at::Tensor a = at::empty({site.rank, site.in}, at::kFloat),
               b = at::zeros({site.out, site.rank}, at::kFloat);
    at::Generator random = at::make_generator<at::CPUGeneratorImpl>(seed);
    if (init == "pissa") {
        const int64_t most = std::min(site.in, site.out);
        if (site.rank > most)
            throw Error::config("adapter.init pissa: rank must be at most ", most, ", the smaller side of ",
                                site.path, ", got ", site.rank);
        if (base.packed())
            throw Error::config("adapter.init pissa: it changes the base's weights, and those of ", site.path,
                                " are quantised (nf4); use kaiming or gaussian");
        const auto [u, s, v] = at::linalg_svd(base.weight().detach().to(at::kFloat), /*full_matrices=*/false);
        const at::Tensor root = (s.narrow(0, 0, site.rank) / site.scaling).sqrt_();
        a = (root.unsqueeze(1) * v.narrow(0, 0, site.rank)).contiguous();
        b = (u.narrow(1, 0, site.rank) * root).contiguous();
    } else if (init == "gaussian") {
        a.normal_(0, 1.0 / double(site.rank), random);
    } else if (init == "kaiming") {
        const double bound = 1.0 / std::sqrt(double(site.in));
        a.uniform_(-bound, bound, random);
    } else {
        throw Error::config("adapter.init must be kaiming, gaussian, pissa or a folder, got \"", init, "\"");
    }
    parts.lora_A = a.to(base.device()).set_requires_grad(true);
    parts.lora_B = b.to(base.device()).set_requires_grad(true);
}

at::Tensor pissa_residual(const at::Tensor& weight, const at::Tensor& a, const at::Tensor& b,
                          double scaling) {
    at::NoGradGuard no_grad;
    at::Tensor wide = weight.detach().to(accumulate_type(weight.scalar_type()), false, /*copy=*/true);
    wide.addmm_(b.detach().to(wide.scalar_type()), a.detach().to(wide.scalar_type()), 1, -scaling);
    return wide.to(weight.scalar_type());
}

} // namespace dorabench
