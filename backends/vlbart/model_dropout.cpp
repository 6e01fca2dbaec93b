#include "backends/vlbart/model_dropout.h"
#include <ATen/ops/empty.h>
#include <limits>
#include <torch/csrc/autograd/custom_function.h>

namespace dorabench {
namespace {

class Drop : public torch::autograd::Function<Drop> {
public:
    static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, double p,
                              const DropoutKey& key) {
        ctx->saved_data["p"] = p;
        ctx->saved_data["seed"] = static_cast<int64_t>(key.seed);
        ctx->saved_data["micro_batch"] = key.micro_batch;
        ctx->saved_data["site"] = static_cast<int64_t>(key.site);
        return dropped(x, p, key);
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                   torch::autograd::variable_list grads) {
        const DropoutKey key{static_cast<uint64_t>(ctx->saved_data["seed"].toInt()), 0,
                             ctx->saved_data["micro_batch"].toInt(),
                             static_cast<uint32_t>(ctx->saved_data["site"].toInt())};
        return {dropped(grads[0], ctx->saved_data["p"].toDouble(), key), at::Tensor(), at::Tensor()};
    }
};

} // namespace

at::Tensor model_dropout(const at::Tensor& x, double p, const DropoutKey& key) {
    if (p == 0) return x;
    TORCH_CHECK(key.step == 0, "[model_dropout] the seed stands for the step, got step ", key.step);
    return Drop::apply(x, p, key);
}

uint64_t draw_dropout_seed() {
    at::Tensor drawn = at::empty({}, at::kLong);
    drawn.random_(std::numeric_limits<int64_t>::max());
    return static_cast<uint64_t>(drawn.item<int64_t>());
}

} // namespace dorabench
