#include "tests/cases/small_llama.h"
#include "harness/base/error.h"
#include "tests/cases/cases.h"
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <array>
#include <cmath>

namespace dorabench::cases {
namespace {

bool is_target(const std::string& path) {
    for (const char* end : {"q_proj", "k_proj", "v_proj", "up_proj", "down_proj"})
        if (path.ends_with(end)) return true;
    return false;
}

} // namespace

Adapter::Adapter(LlamaModel& model, const std::string& method, int64_t rank, double dropout, uint64_t seed) {
    clock_->training = true;
    clock_->seed = seed;
    for (LinearSite* site : model.sites()) {
        if (!is_target(site->path())) continue;
        const FrozenLinear& base = site->base();
        // the adapter's numbers are float32 beside any base, float64 beside a float64 one (the reference)
        const auto type = base.dtype() == at::kDouble ? at::kDouble : at::kFloat;
        auto leaf = [&](const at::Tensor& x) {
            return x.to(at::kFloat).to(type).to(base.device()).set_requires_grad(true);
        };
        AdaptedSite parts;
        const uint64_t own = seed * 1000 + layers_.size() * 2;
        parts.lora_A = leaf(normal({rank, base.in()}, own) / std::sqrt(3.0 * double(base.in())));
        parts.lora_B = leaf(normal({base.out(), rank}, own + 1) * 0.02);
        parts.scaling = 2;
        parts.key.site = uint32_t(layers_.size());
        parts.form = DropoutForm::adapter;
        parts.full_norm_grad = method == "dora_full";
        if (method != "lora") parts.magnitude = leaf(at::ones({base.out()}, at::kDouble));
        auto layer = std::make_shared<SiteLayer>(clock_, parts, dropout);
        for (const at::Tensor& part : {parts.lora_A, parts.lora_B, parts.magnitude})
            if (part.defined()) parameters_.push_back(part);
        if (parts.magnitude.defined()) { // the first gain is 1
            at::NoGradGuard no_grad;
            parts.magnitude.copy_(layer->norm(base));
        }
        layers_.push_back({site, std::move(layer)});
    }
    ++clock_->version;
    for (const at::Tensor& p : parameters_) {
        first_.push_back(at::zeros_like(p.detach()));
        second_.push_back(at::zeros_like(p.detach()));
    }
}

void Adapter::attach() {
    for (TargetLayer& target : layers_) target.site->attach(target.layer);
}

at::Tensor Adapter::step(LlamaModel& model, const at::Tensor& ids, double lr) {
    clock_->step = steps_;
    const at::Tensor loss = row_loss(model, ids);
    loss.backward();
    std::vector<at::Tensor> grads;
    for (const at::Tensor& p : parameters_) grads.push_back(p.grad());
    adamw_step(parameters_, grads, first_, second_, {.lr = lr, .weight_decay = 0.01}, ++steps_);
    for (at::Tensor& p : parameters_) p.mutable_grad() = at::Tensor();
    ++clock_->version;
    return loss.detach();
}

int64_t Adapter::trainable() const {
    int64_t sum = 0;
    for (const at::Tensor& p : parameters_) sum += p.numel();
    return sum;
}

std::unique_ptr<LlamaModel> random_llama(const LlamaConfig& c, at::ScalarType type, at::ScalarType rounded,
                                         at::Device device, bool on_device, bool math_attention) {
    at::NoGradGuard no_grad;
    Weights weights;
    uint64_t seed = 100;
    auto matrix = [&](const std::string& name, int64_t out, int64_t in) {
        const double scale = 1.0 / std::sqrt(double(in));
        ++seed;
        weights[name] = on_device
                            ? at::empty({out, in}, at::TensorOptions(type).device(device)).normal_(0, scale)
                            : (normal({out, in}, seed) * scale).to(rounded).to(type).to(device);
    };
    auto ones = [&](const std::string& name) {
        weights[name] = at::ones({c.hidden}, at::TensorOptions(type).device(device));
    };
    const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    matrix("model.embed_tokens.weight", c.vocab, c.hidden);
    for (int64_t i = 0; i < c.layers; ++i) {
        const std::string at = cat("model.layers.", i, ".");
        matrix(at + "self_attn.q_proj.weight", q, c.hidden);
        matrix(at + "self_attn.k_proj.weight", kv, c.hidden);
        matrix(at + "self_attn.v_proj.weight", kv, c.hidden);
        matrix(at + "self_attn.o_proj.weight", c.hidden, q);
        matrix(at + "mlp.gate_proj.weight", c.intermediate, c.hidden);
        matrix(at + "mlp.up_proj.weight", c.intermediate, c.hidden);
        matrix(at + "mlp.down_proj.weight", c.hidden, c.intermediate);
        ones(at + "input_layernorm.weight");
        ones(at + "post_attention_layernorm.weight");
    }
    ones("model.norm.weight");
    matrix("lm_head.weight", c.vocab, c.hidden);
    return std::make_unique<LlamaModel>(c, weights, math_attention);
}

at::Tensor row_loss(LlamaModel& model, const at::Tensor& ids) {
    const int64_t n = ids.size(0);
    const at::Tensor positions = at::arange(n, ids.options());
    at::Tensor x = model.embed(ids);
    if (at::GradMode::is_enabled() && model.config().layers == 1)
        x = x.detach().requires_grad_(
            true); // one layer stands for an inner one, whose input needs a gradient
    const at::Tensor h = model.forward_rows(x, positions, {{0, n}});
    const at::Tensor labels = at::cat({ids.narrow(0, 1, n - 1), at::full({1}, -100, ids.options())});
    const at::Tensor scale =
        at::full({n}, 1.0 / double(n - 1), at::TensorOptions(at::kFloat).device(ids.device()));
    return model.loss(h, labels, scale);
}

} // namespace dorabench::cases
