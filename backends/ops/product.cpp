#include "backends/ops/product.h"
#include "backends/ops/grad_needed.h"
#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <optional>
#include <string_view>
#include <torch/csrc/autograd/custom_function.h>

namespace dorabench {
namespace {

constexpr int64_t kLeastRows = 4;   // below, reading W is all the work
constexpr int64_t kWorthACopy = 16; // rows from which copying a W with gaps is little of the work

bool has_avx512() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f");
#else
    return false;
#endif
}

// LibTorch's operator around oneDNN's product; no header declares it.
using Pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                             std::string_view, c10::List<std::optional<at::Scalar>>,
                             std::optional<std::string_view>);

const std::optional<c10::TypedOperatorHandle<Pointwise>>& one_dnn() {
    static const auto found = []() -> std::optional<c10::TypedOperatorHandle<Pointwise>> {
        if (!at::globalContext().hasMKLDNN() || !has_avx512()) return std::nullopt;
        const auto op = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
        if (!op || !op->hasKernelForDispatchKey(c10::DispatchKey::CPU)) return std::nullopt;
        return op->typed<Pointwise>();
    }();
    return found;
}

bool plain(const at::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == at::kFloat && t.layout() == at::kStrided;
}

// Without gaps, in either order. Of a matrix cut out of a wider one oneDNN has only its reference, a thousand
// times slower.
bool dense(const at::Tensor& w) { return w.is_contiguous() || (w.dim() == 2 && w.t().is_contiguous()); }

bool suits(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return plain(x) && plain(weight) && (!bias.defined() || plain(bias)) && weight.dim() == 2 &&
           weight.numel() > 0 && x.size(-1) == weight.size(1) &&
           x.numel() / x.size(-1) >= (dense(weight) ? kLeastRows : kWorthACopy) && one_dnn() &&
           at::globalContext().userEnabledMkldnn();
}

at::Tensor raw(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    at::AutoDispatchBelowADInplaceOrView below;
    if (!suits(x, weight, bias)) return at::linear(x, weight, bias);
    return one_dnn()->call(x.contiguous(), dense(weight) ? weight : weight.contiguous(),
                           bias.defined() ? std::optional(bias) : std::nullopt, "none",
                           c10::List<std::optional<at::Scalar>>(), "");
}

class LinearProduct : public torch::autograd::Function<LinearProduct> {
public:
    static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                              const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
        ctx->saved_data["biased"] = bias.has_value();
        // each is kept only for the gradient of the other
        ctx->save_for_backward(
            {weight.requires_grad() ? x : at::Tensor(), x.requires_grad() ? weight : at::Tensor()});
        return raw(x, weight, bias.value_or(at::Tensor()));
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                   torch::autograd::variable_list grads) {
        const auto saved = ctx->get_saved_variables();
        const at::Tensor& dy = grads[0];
        const at::Tensor rows = dy.reshape({-1, dy.size(-1)});
        torch::autograd::variable_list out(3);
        if (saved[1].defined()) {
            auto shape = dy.sizes().vec();
            shape.back() = saved[1].size(1);
            out[0] = product_nt(rows, saved[1].t()).view(shape);
        }
        if (saved[0].defined()) out[1] = product_nt(rows.t(), saved[0].reshape({-1, saved[0].size(-1)}).t());
        if (ctx->saved_data["biased"].toBool() && ctx->needs_input_grad(2)) out[2] = rows.sum(0);
        return out;
    }
};

} // namespace

at::Tensor product_nt(const at::Tensor& a, const at::Tensor& b) {
    at::NoGradGuard no_grad;
    return raw(a, b, {});
}

at::Tensor product_nt(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
    const bool short_type = a.scalar_type() == at::kBFloat16 || a.scalar_type() == at::kHalf;
    if (a.is_cuda() && short_type && type == at::kFloat) {
        at::NoGradGuard no_grad;
        return at::mm(a, b.t(), type);
    }
    return product_nt(a, b).to(type);
}

at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    if (!grad_needed(x, weight, bias)) return raw(x, weight, bias);
    if (!suits(x, weight, bias)) return at::linear(x, weight, bias);
    return LinearProduct::apply(x, weight, bias.defined() ? std::optional(bias) : std::nullopt);
}

} // namespace dorabench
