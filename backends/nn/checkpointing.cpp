#include "backends/nn/checkpointing.h"
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace dorabench {
namespace {

struct BlockHolder : torch::CustomClassHolder {
    explicit BlockHolder(Block block) : block(std::move(block)) {}
    Block block;
};

class Checkpointed : public torch::autograd::Function<Checkpointed> {
public:
    static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                              const std::shared_ptr<Block>& block) {
        ctx->save_for_backward({x});
        ctx->saved_data["block"] = at::IValue::make_capsule(c10::make_intrusive<BlockHolder>(*block));
        return (*block)(x);
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                   torch::autograd::variable_list grads) {
        at::AutoGradMode recording(true);
        at::Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_(true);
        auto holder = ctx->saved_data["block"].toCapsule();
        at::Tensor y = static_cast<BlockHolder&>(*holder).block(x);
        torch::autograd::backward({y}, {grads[0]});
        return {x.grad(), at::Tensor()};
    }
};

} // namespace

at::Tensor checkpointed(const Block& block, const at::Tensor& x) {
    if (!at::GradMode::is_enabled()) return block(x);
    TORCH_CHECK(x.requires_grad(), "[checkpointed] the block's input must require a gradient");
    return Checkpointed::apply(x, std::make_shared<Block>(block));
}

} // namespace dorabench
