#include "backends/ops/adapted_linear_node.h"
#include "backends/ops/compose.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/dora_norm.h"
#include "backends/ops/product.h"
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <algorithm>

namespace dorabench::detail {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

struct AdaptedLinearNode::Pass {
    at::Tensor x;       // [T, in]
    at::Tensor kept;    // x, or x~ under dropout
    at::Tensor slopes;  // P_all [T, width], gradient of h_all
    at::Tensor dx;      // [T, in]; undefined until the first term, or where nobody asks
    at::Tensor dx_kept; // [T, in], what reaches x through x~ (NVlabs' form); still without the mask
    bool wants_dx = false;
    bool own_dy = false;               // the gradient at hand may be overwritten
    variable_list out;                 // gradients of the node's inputs
    std::vector<at::Tensor> magnitude; // per site dm [out]
    std::vector<at::Tensor> extra_A;   // per site: what the norm adds to dA, [r, in]
    at::Tensor bordered;               // [r, out]: (q * B)^T, rides along with dz in the product with W
};

void AdaptedLinearNode::record(std::span<const AdaptedSite* const> sites, const at::Tensor& x,
                               const at::Tensor& hidden, const SharedDown& shared,
                               const std::vector<at::Tensor>& inners, std::vector<at::Tensor>& outputs) {
    variable_list inputs{x};
    for (const AdaptedSite* site : sites)
        for (const at::Tensor& leaf :
             {site->lora_A, site->lora_B, site->lambda_d, site->lambda_b, site->magnitude, site->bias})
            inputs.push_back(leaf);
    const bool any = std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& input) {
        return input.defined() && input.requires_grad();
    });
    if (!at::GradMode::is_enabled() || !any) return;
    std::shared_ptr<AdaptedLinearNode> node(new AdaptedLinearNode, torch::autograd::deleteNode);
    node->set_next_edges(torch::autograd::collect_next_edges(inputs));
    node->shared_ = shared;
    node->hidden_ = hidden;
    node->x_ = SavedVariable(x, false);
    node->sites_.resize(sites.size());
    for (size_t i = 0; i < sites.size(); ++i) {
        SiteState& state = node->sites_[i];
        state.site = *sites[i];
        state.inner = inners[i];
        torch::autograd::create_gradient_edge(outputs[i], node);
        if (state.site.magnitude.defined() && !state.inner.defined())
            state.y = SavedVariable(outputs[i], true);
    }
}

void AdaptedLinearNode::release_variables() {
    x_.reset_data();
    hidden_.reset();
    for (SiteState& state : sites_) {
        state.y.reset_data();
        state.inner.reset();
    }
}

void AdaptedLinearNode::put(Pass& pass, size_t site, Input input, const at::Tensor& grad) const {
    at::Tensor& slot = pass.out[edge(site, input)];
    slot = slot.defined() ? slot + grad : grad;
}

variable_list AdaptedLinearNode::apply(variable_list&& grads) {
    at::NoGradGuard no_grad;
    Pass pass;
    const at::Tensor x = x_.unpack();
    pass.x = x.reshape({-1, x.size(-1)});
    pass.wants_dx = task_should_compute_output(0);
    pass.out.resize(num_outputs());
    pass.magnitude.resize(sites_.size());
    pass.extra_A.resize(sites_.size());
    const AdaptedSite& first = sites_[0].site;
    const bool dropping = first.dropout > 0 && is_adapted(first);
    pass.kept = dropping ? dropped(pass.x, first.dropout, first.key) : pass.x;
    if (shared_.width > 0) pass.slopes = at::zeros({pass.x.size(0), shared_.width}, pass.x.options());
    for (size_t i = 0; i < sites_.size(); ++i) {
        if (!grads[i].defined()) continue;
        // Nobody else holds this gradient: dz may take its place.
        pass.own_dy = grads[i].use_count() == 1 && grads[i].storage().use_count() == 1 &&
                      grads[i].is_contiguous() && !grads[i].requires_grad();
        const at::Tensor dy = grads[i].reshape({-1, grads[i].size(-1)});
        if (wants(i, kBias)) put(pass, i, kBias, dy.sum(0));
        if (sites_[i].inner.defined())
            second_product_backward(pass, i, dy);
        else
            site_backward(pass, i, dy);
    }
    finish(pass);
    if (pass.dx.defined()) pass.out[0] = pass.dx.view(x.sizes());
    return std::move(pass.out);
}

void AdaptedLinearNode::site_backward(Pass& pass, size_t index, const at::Tensor& dy) {
    SiteState& state = sites_[index];
    const AdaptedSite& site = state.site;
    const int64_t tokens = dy.size(0), out = dy.size(1);
    at::Tensor dz = dy, rows = dy; // rows: dz with what rides along below it
    int64_t riders = 0;
    if (site.magnitude.defined()) {
        const bool bordered = site.full_norm_grad && site.lora_A.defined() && pass.wants_dx;
        riders = bordered ? site.down.size(0) : 0;
        rows = dz = at::Tensor();
        if (pass.wants_dx || site.down.defined()) {
            const bool in_place = pass.own_dy && riders == 0 && !site.weak_rows.defined() && dy.is_cpu();
            rows = in_place ? dy : at::empty({tokens + riders, out}, dy.options());
            dz = rows.narrow(0, 0, tokens);
        }
        const at::Tensor y = state.y.unpack(shared_from_this());
        magnitude_backward(pass, index, dy,
                           scale_and_reduce(dy, y.reshape({-1, out}), site.gain, site.bias, dz));
        if (site.full_norm_grad && site.down.defined()) norm_backward(pass, index);
        if (riders > 0) rows.narrow(0, tokens, riders).copy_(pass.bordered);
    }
    if (site.down.defined()) low_rank_backward(pass, index, dz);
    if (!pass.wants_dx) return;
    if (riders == 0 && pass.dx.defined()) {
        pass.dx.add_(product_nt(rows, site.dense().t()));
        return;
    }
    const at::Tensor product = product_nt(rows, site.dense().t());
    const at::Tensor own = riders > 0 ? product.narrow(0, 0, tokens) : product;
    if (riders > 0) pass.extra_A[index].add_(product.narrow(0, tokens, riders), site.scaling);
    pass.dx = pass.dx.defined() ? pass.dx.add_(own) : own;
}

// y = (x - x~) W^T + g v + b with v = x~ W^T + s h B^T: dv = g dy, so dx = dy W + D ((dz - dy) W + P A).
void AdaptedLinearNode::second_product_backward(Pass& pass, size_t index, const at::Tensor& dy) {
    const SiteState& state = sites_[index];
    const AdaptedSite& site = state.site;
    const int64_t tokens = dy.size(0), out = dy.size(1);
    const at::Tensor rows = at::empty({2 * tokens, out}, dy.options());
    at::Tensor dz = rows.narrow(0, tokens, tokens);
    const at::Tensor sum = scale_and_reduce(dy, state.inner, site.gain, {}, dz);
    pass.magnitude[index] = sum / site.norm.clamp_min(kNormFloor);
    if (wants(index, kMagnitude)) put(pass, index, kMagnitude, pass.magnitude[index]);
    if (site.full_norm_grad && site.down.defined()) {
        norm_backward(pass, index);
        if (site.lora_A.defined())
            pass.extra_A[index].add_(product_nt(pass.bordered.to(site.dtype()), site.dense().t()),
                                     site.scaling);
    }
    if (site.down.defined()) low_rank_backward(pass, index, dz);
    if (!pass.wants_dx) return;
    rows.narrow(0, 0, tokens).copy_(dy);
    const at::Tensor both = product_nt(rows, site.dense().t());
    pass.dx = both.narrow(0, 0, tokens);
    pass.dx_kept = both.narrow(0, tokens, tokens).sub_(pass.dx);
}

// sum: sum_t dy (y - b) = m dm.
void AdaptedLinearNode::magnitude_backward(Pass& pass, size_t index, const at::Tensor& dy,
                                           const at::Tensor& sum) {
    const AdaptedSite& site = sites_[index].site;
    const at::Tensor m = site.magnitude.detach().to(sum.scalar_type());
    at::Tensor dm = sum / m.masked_fill(m == 0, 1);
    if (const CudaKernels* cuda = kernels_for(site.gain); cuda && kernels_for(dy)) {
        const bool low = site.down.defined();
        const at::Tensor own =
            low ? hidden_.narrow(1, shared_.column[index], site.down.size(0)) : at::Tensor();
        cuda->weak_magnitudes(dm, dy, pass.x, site.dense(), low ? hidden_in_use(site, own) : own,
                              low ? up_in_use(site) : own, site.gain, site.norm, site.scaling,
                              weak_gain(site.bias.defined()));
    } else if (site.weak_rows.defined()) {
        const at::Tensor& weak = site.weak_rows;
        at::Tensor z = product_nt(pass.x, site.dense().index_select(0, weak));
        if (site.down.defined()) {
            const at::Tensor own = hidden_.narrow(1, shared_.column[index], site.down.size(0));
            z.addmm_(hidden_in_use(site, own), up_in_use(site).index_select(0, weak).t(), 1, site.scaling);
        }
        const at::Tensor norm = site.norm.index_select(0, weak).clamp_min(kNormFloor);
        const at::Tensor terms = dy.index_select(1, weak).to(sum.scalar_type()) * z.to(sum.scalar_type());
        dm.index_copy_(0, weak, terms.sum(0) / norm);
    }
    pass.magnitude[index] = dm;
    if (wants(index, kMagnitude)) put(pass, index, kMagnitude, dm.to(site.magnitude.scalar_type()));
}

// Through c: what V = W + s B A receives is q_i V_i, q = -g dm / c. With K = W A^T + s B (A A^T), so that V
// A^T = K.
void AdaptedLinearNode::norm_backward(Pass& pass, size_t index) {
    const AdaptedSite& site = sites_[index].site;
    const at::Tensor q = -site.gain * pass.magnitude[index] / site.norm.clamp_min(kNormFloor);
    const auto type = q.scalar_type();
    const double s = site.scaling;
    const at::Tensor up = up_in_use(site).to(type), weighted = q.unsqueeze(1) * up;
    if (site.lora_A.defined()) {
        const at::Tensor k = site.cross + s * at::mm(up, site.gram);
        if (wants(index, kB)) put(pass, index, kB, s * q.unsqueeze(1) * k);
        pass.bordered = weighted.t();
        pass.extra_A[index] = (s * s) * at::mm(at::mm(up.t(), weighted), site.down.to(type));
        if (!pass.wants_dx && !sites_[index].inner.defined())
            pass.extra_A[index].add_(product_nt(pass.bordered.to(site.dtype()), site.dense().t()), s);
        return;
    }
    const at::Tensor d = site.lambda_d.detach().to(type);
    const at::Tensor k = site.cross + s * at::mm(up * d, site.gram);
    if (wants(index, kD)) put(pass, index, kD, s * (weighted * k).sum(0));
    if (wants(index, kScaleB)) put(pass, index, kScaleB, s * q * (site.up.to(type) * k * d).sum(1));
}

void AdaptedLinearNode::low_rank_backward(Pass& pass, size_t index, const at::Tensor& dz) {
    const AdaptedSite& site = sites_[index].site;
    const auto type = accumulate_type(dz.scalar_type());
    const at::Tensor hidden = hidden_.narrow(1, shared_.column[index], site.down.size(0));
    at::Tensor slope = product_nt(dz, up_in_use(site).t()).mul_(site.scaling); // P = s dz B
    if (site.lambda_d.defined()) {
        if (wants(index, kD)) put(pass, index, kD, (slope.to(type) * hidden).sum(0));
        slope.mul_(site.lambda_d.detach().to(slope.scalar_type()));
    }
    if (wants(index, kB))
        put(pass, index, kB,
            product_nt(hidden.t(), dz.t(), site.lora_B.scalar_type()).t().mul_(site.scaling));
    if (wants(index, kScaleB)) {
        at::Tensor product = product_nt(hidden_in_use(site, hidden).t(), dz.t(), type).t();
        put(pass, index, kScaleB, product.mul_(site.up).sum(1).mul_(site.scaling));
    }
    pass.slopes.narrow(1, shared_.column[index], site.down.size(0)).add_(slope);
}

// What the sites share: dx through h, and dA of every site from one product.
void AdaptedLinearNode::finish(Pass& pass) {
    if (!pass.slopes.defined() && !pass.dx_kept.defined()) return;
    const AdaptedSite& first = sites_[0].site;
    if (pass.dx.defined()) {
        if (pass.dx_kept.defined()) {
            if (pass.slopes.defined()) pass.dx_kept.addmm_(pass.slopes, shared_.down);
        } else if (first.dropout > 0 && is_adapted(first)) {
            pass.dx_kept = product_nt(pass.slopes, shared_.down.t());
        } else {
            pass.dx.addmm_(pass.slopes, shared_.down);
        }
        if (pass.dx_kept.defined()) {
            dropout_(pass.dx_kept, first.dropout, first.key);
            pass.dx.add_(pass.dx_kept);
        }
    }
    bool any = false;
    for (size_t i = 0; i < sites_.size(); ++i) any = any || wants(i, kA);
    if (!any) return;
    const at::Tensor all =
        product_nt(pass.slopes.t(), pass.kept.t(), accumulate_type(pass.slopes.scalar_type()));
    for (size_t i = 0; i < sites_.size(); ++i) {
        if (!wants(i, kA)) continue;
        const AdaptedSite& site = sites_[i].site;
        at::Tensor grad = all.narrow(0, shared_.column[i], site.down.size(0)).to(site.lora_A.scalar_type());
        if (pass.extra_A[i].defined()) grad = grad + pass.extra_A[i].to(grad.scalar_type());
        put(pass, i, kA, grad);
    }
}

} // namespace dorabench::detail
