#pragma once
// The autograd node of adapted_linear.h; included by its two sources alone (autograd's headers are heavy).
#include "backends/ops/adapted_linear.h"
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>

namespace dorabench::detail {

bool is_adapted(const AdaptedSite& site);
bool second_product(const AdaptedSite& site);  // NVlabs' dropout form is in effect
at::Tensor up_in_use(const AdaptedSite& site); // B, or diag(lambda_b) B; [out, r]
at::Tensor hidden_in_use(const AdaptedSite& site, const at::Tensor& hidden); // h, or h * lambda_d; [T, r]

// The distinct A's of several sites, one below the other, and where each site's begins.
struct SharedDown {
    at::Tensor down; // [width, in]; undefined when no site has one
    int64_t width = 0;
    std::vector<int64_t> column; // per site: first column of its h in h_all [T, width]; -1: none
};
SharedDown share_down(std::span<const AdaptedSite* const> sites);

class AdaptedLinearNode final : public torch::autograd::Node {
public:
    // Makes the outputs differentiable, where gradients are on and something asks for one.
    static void record(std::span<const AdaptedSite* const> sites, const at::Tensor& x,
                       const at::Tensor& hidden, const SharedDown& shared,
                       const std::vector<at::Tensor>& inners, std::vector<at::Tensor>& outputs);
    torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override;
    void release_variables() override;
    std::string name() const override { return "AdaptedLinear"; }

private:
    // Inputs of the node in order: x, then these of every site.
    enum Input { kA, kB, kD, kScaleB, kMagnitude, kBias, kInputsPerSite };
    struct SiteState {
        AdaptedSite site;
        torch::autograd::SavedVariable y; // with a magnitude, unless `inner` stands for it
        at::Tensor inner;                 // NVlabs' dropout form: x~ W^T + s h B^T
    };
    struct Pass; // what one backward pass shares among its sites

    size_t edge(size_t site, Input input) const { return 1 + site * kInputsPerSite + input; }
    bool wants(size_t site, Input input) const { return task_should_compute_output(edge(site, input)); }
    void put(Pass& pass, size_t site, Input input, const at::Tensor& grad) const;
    void site_backward(Pass& pass, size_t index, const at::Tensor& dy);
    void second_product_backward(Pass& pass, size_t index, const at::Tensor& dy);
    void magnitude_backward(Pass& pass, size_t index, const at::Tensor& dy, const at::Tensor& sum);
    void norm_backward(Pass& pass, size_t index);
    void low_rank_backward(Pass& pass, size_t index, const at::Tensor& dz);
    void finish(Pass& pass);

    std::vector<SiteState> sites_;
    SharedDown shared_;
    torch::autograd::SavedVariable x_;
    at::Tensor hidden_; // h_all [T, width]
};

} // namespace dorabench::detail
