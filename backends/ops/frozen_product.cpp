#include "backends/ops/frozen_product.h"
#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <optional>
#include <string_view>

namespace dorabench {
namespace {

thread_local bool training_products = false;

constexpr int64_t kLeastRows = 4; // below, reading W is all the work

bool has_avx512() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f");
#else
    return false;
#endif
}

// LibTorch's operator around oneDNN's product for weights in their ordinary order; no header declares it.
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

bool suits(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    const auto plain = [](const at::Tensor& t) {
        return t.is_cpu() && t.scalar_type() == at::kFloat && t.layout() == at::kStrided;
    };
    return !at::GradMode::is_enabled() && !training_products && plain(x) && plain(weight) && (!bias.defined() || plain(bias)) &&
           weight.is_contiguous() && x.size(-1) > 0 && x.numel() / x.size(-1) >= kLeastRows &&
           at::globalContext().userEnabledMkldnn();
}

} // namespace

TrainingProducts::TrainingProducts() : before_(training_products) { training_products = true; }
TrainingProducts::~TrainingProducts() { training_products = before_; }

at::Tensor frozen_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    if (!suits(x, weight, bias) || !one_dnn()) return at::linear(x, weight, bias);
    at::AutoDispatchBelowADInplaceOrView below;
    return one_dnn()->call(x.contiguous(), weight, bias.defined() ? std::optional(bias) : std::nullopt,
                           "none", c10::List<std::optional<at::Scalar>>(), "");
}

} // namespace dorabench
