#include "backends/ops/adapted_linear.h"
#include "backends/ops/adapted_linear_node.h"
#include "backends/ops/compose.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/nf4_product.h"
#include "backends/ops/product.h"
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/mm.h>
#include <algorithm>

namespace dorabench {

using detail::AdaptedLinearNode;
using detail::SharedDown;

namespace detail {

bool is_adapted(const AdaptedSite& site) { return site.down.defined() || site.magnitude.defined(); }

bool second_product(const AdaptedSite& site) {
    return site.dropout > 0 && site.magnitude.defined() && site.form == DropoutForm::input;
}

at::Tensor up_in_use(const AdaptedSite& site) {
    if (!site.lambda_b.defined()) return site.up;
    return (site.lambda_b.detach().unsqueeze(1) * site.up).to(site.up.scalar_type());
}

at::Tensor hidden_in_use(const AdaptedSite& site, const at::Tensor& hidden) {
    if (!site.lambda_d.defined()) return hidden;
    return hidden * site.lambda_d.detach().to(hidden.scalar_type());
}

SharedDown share_down(std::span<const AdaptedSite* const> sites) {
    SharedDown shared;
    std::vector<at::Tensor> parts;
    std::vector<int64_t> starts;
    for (const AdaptedSite* site : sites) {
        if (!site->down.defined()) {
            shared.column.push_back(-1);
            continue;
        }
        size_t same = 0;
        while (same < parts.size() &&
               !(parts[same].const_data_ptr() == site->down.const_data_ptr() &&
                 parts[same].sizes() == site->down.sizes() && parts[same].strides() == site->down.strides()))
            ++same;
        if (same == parts.size()) {
            parts.push_back(site->down);
            starts.push_back(shared.width);
            shared.width += site->down.size(0);
        }
        shared.column.push_back(starts[same]);
    }
    if (parts.size() == 1) shared.down = parts[0];
    if (parts.size() > 1) shared.down = at::cat(parts);
    return shared;
}

} // namespace detail

namespace {

void check_site(const AdaptedSite& site, const at::Tensor& x) {
    const int64_t out = site.out(), in = site.in();
    TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in, "[adapted_linear] x must be [..., in=", in, "], got ",
                x.sizes());
    TORCH_CHECK(x.scalar_type() == site.dtype(), "[adapted_linear] x must be ", site.dtype(),
                " as the weight is, got ", x.scalar_type());
    TORCH_CHECK(site.down.defined() == site.up.defined(), "[adapted_linear] A and B must come together");
    if (site.down.defined())
        TORCH_CHECK(site.down.dim() == 2 && site.down.size(1) == in && site.up.dim() == 2 &&
                        site.up.size(0) == out && site.up.size(1) == site.down.size(0),
                    "[adapted_linear] A must be [r, in=", in, "] and B [out=", out, ", r], got ",
                    site.down.sizes(), " and ", site.up.sizes());
    if (site.magnitude.defined())
        TORCH_CHECK(site.gain.defined() && site.gain.dim() == 1 && site.gain.size(0) == out &&
                        site.norm.defined(),
                    "[adapted_linear] with a magnitude, gain and norm must be [out=", out, "]");
}

// z := g (z + s h B^T) + b. With VeRA's rows scaled by lambda_b, whichever is smaller is scaled: B, or few
// tokens' products.
void low_rank_compose(at::Tensor& z, const AdaptedSite& site, const at::Tensor& hidden,
                      const at::Tensor& gain, const at::Tensor& bias) {
    const at::Tensor h = detail::hidden_in_use(site, hidden);
    if (site.lambda_b.defined() && z.size(0) < site.up.size(1)) {
        const at::Tensor scale = site.lambda_b.detach().to(z.scalar_type());
        z.addcmul_(product_nt(h, site.up), scale, site.scaling);
        return compose_(z, gain, bias);
    }
    low_rank_compose_(z, h, detail::up_in_use(site), site.scaling, gain, bias);
}

// y = (x - x~) W^T + g * (x~ W^T + s h B^T) + b, one product over 2 T rows; the bracket goes to `inner` for
// backward.
at::Tensor forward_with_second_product(const AdaptedSite& site, const at::Tensor& x, const at::Tensor& kept,
                                       const at::Tensor& hidden, at::Tensor& inner) {
    const int64_t tokens = x.size(0);
    const at::Tensor both = product_nt(at::cat({x - kept, kept}), site.dense());
    at::Tensor y = both.narrow(0, 0, tokens);
    inner = both.narrow(0, tokens, tokens);
    if (site.down.defined()) low_rank_compose(inner, site, hidden, {}, {});
    const auto type = accumulate_type(x.scalar_type());
    if (type == x.scalar_type()) {
        y.addcmul_(inner, site.gain);
        if (site.bias.defined()) y.add_(site.bias);
        return y;
    }
    at::Tensor wide = y.to(type) + inner.to(type) * site.gain;
    if (site.bias.defined()) wide.add_(site.bias);
    y.copy_(wide);
    return y;
}

// x W^T + b; a packed W from its codes where that is the faster way.
at::Tensor base_product(const AdaptedSite& site, const at::Tensor& x, const at::Tensor& bias = {}) {
    at::Tensor z = site.packed ? nf4_product(*site.packed, x) : at::Tensor();
    if (!z.defined()) return linear_product(x, site.dense(), bias);
    return bias.defined() ? z.add_(bias) : z;
}

at::Tensor forward_site(const AdaptedSite& site, const at::Tensor& x, const at::Tensor& hidden) {
    if (!detail::is_adapted(site)) return base_product(site, x, site.bias);
    at::Tensor z = base_product(site, x);
    if (site.down.defined())
        low_rank_compose(z, site, hidden, site.gain, site.bias);
    else
        compose_(z, site.gain, site.bias);
    return z;
}

std::vector<int64_t> output_shape(const at::Tensor& x, const AdaptedSite& site) {
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = site.out();
    return shape;
}

} // namespace

at::Tensor find_weak_rows(const at::Tensor& gain, bool has_bias) {
    // y - b = g z loses z where g is 0, or where b is so much larger than g z that the difference rounds z
    // away.
    if (kernels_for(gain))
        return {}; // the kernel looks for itself (weak_gain), which spares the host's waiting
    at::NoGradGuard no_grad;
    const at::Tensor rows = (gain.abs() <= weak_gain(has_bias)).nonzero().view(-1);
    return rows.numel() > 0 ? rows : at::Tensor();
}

std::vector<at::Tensor> adapted_linear(std::span<const AdaptedSite* const> sites, const at::Tensor& x) {
    TORCH_CHECK(!sites.empty(), "[adapted_linear] at least one site is needed");
    std::vector<at::Tensor> outputs;
    const bool dropping = std::any_of(sites.begin(), sites.end(), [](const AdaptedSite* site) {
        return site->dropout > 0 && detail::is_adapted(*site);
    });
    if (dropping && sites.size() > 1) { // every site has a mask of its own, so nothing is shared
        for (const AdaptedSite*& site : std::vector<const AdaptedSite*>(sites.begin(), sites.end()))
            outputs.push_back(adapted_linear({&site, 1}, x)[0]);
        return outputs;
    }
    for (const AdaptedSite* site : sites) check_site(*site, x);
    std::vector<at::Tensor> inners(sites.size());
    at::Tensor hidden;
    const SharedDown shared = detail::share_down(sites);
    {
        at::AutoDispatchBelowADInplaceOrView below;
        const at::Tensor x2 = x.reshape({-1, x.size(-1)});
        const at::Tensor kept = dropping ? dropped(x2, sites[0]->dropout, sites[0]->key) : x2;
        if (shared.width > 0) hidden = product_nt(kept, shared.down);
        for (size_t i = 0; i < sites.size(); ++i) {
            const AdaptedSite& site = *sites[i];
            const at::Tensor own =
                shared.column[i] < 0 ? at::Tensor() : hidden.narrow(1, shared.column[i], site.down.size(0));
            at::Tensor y = detail::second_product(site)
                               ? forward_with_second_product(site, x2, kept, own, inners[i])
                               : forward_site(site, x2, own);
            outputs.push_back(y.view(output_shape(x, site)));
        }
    }
    AdaptedLinearNode::record(sites, x, hidden, shared, inners, outputs);
    return outputs;
}

} // namespace dorabench
