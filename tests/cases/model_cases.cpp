#include "harness/base/error.h"
#include "tests/cases/cases.h"
#include "tests/cases/small_llama.h"
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/randint.h>

namespace dorabench::cases {
namespace {

LlamaConfig small_config() {
    LlamaConfig c;
    c.layers = 2, c.hidden = 48, c.heads = 4, c.kv_heads = 2, c.head_dim = 12, c.intermediate = 104,
    c.vocab = 131;
    return c;
}

at::Tensor some_ids(const LlamaConfig& c, int64_t n) {
    return at::arange(n, at::kLong).mul(37).add(5).remainder(c.vocab);
}

at::Tensor logits_of(LlamaModel& model, const at::Tensor& ids) {
    at::NoGradGuard no_grad;
    const int64_t n = ids.size(0);
    return model.logits(model.forward_rows(model.embed(ids), at::arange(n, ids.options()), {{0, n}}));
}

// The device in `type` against float64 on the CPU over the same numbers.
void against_float64(Report& report, at::Device device) {
    const LlamaConfig c = small_config();
    const at::Tensor ids = some_ids(c, 37);
    for (auto type : {at::kFloat, at::kBFloat16})
        for (const char* method : {"lora", "dora", "dora_full"}) {
            auto wide = random_llama(c, at::kDouble, type, at::kCPU, false, false);
            auto here = random_llama(c, type, type, device, false, false);
            Adapter wide_adapter(*wide, method, 4, 0.1, 7), adapter(*here, method, 4, 0.1, 7);
            wide_adapter.attach(), adapter.attach();
            const std::string name = cat("llama ", method, " ", type);
            const double tolerance = type == at::kFloat ? 2e-5 : 4e-2;
            report.close(name + ", logits", logits_of(*here, ids.to(device)), logits_of(*wide, ids),
                         tolerance);
            const at::Tensor loss = row_loss(*here, ids.to(device)), want = row_loss(*wide, ids);
            report.close(name + ", loss", loss, want, tolerance);
            loss.backward();
            want.backward();
            for (size_t i = 0; i < adapter.parameters().size(); ++i)
                report.close(cat(name, ", gradient ", i), adapter.parameters()[i].grad(),
                             wide_adapter.parameters()[i].grad(), type == at::kFloat ? 2e-4 : 0.15);
        }
}

void training_run(Report& report, at::Device device) {
    const LlamaConfig c = small_config();
    for (const char* method : {"lora", "dora"}) {
        auto cpu = random_llama(c, at::kFloat, at::kFloat, at::kCPU, false, false);
        auto here = random_llama(c, at::kFloat, at::kFloat, device, false, false);
        Adapter there(*cpu, method, 4, 0.05, 11), adapter(*here, method, 4, 0.05, 11);
        there.attach(), adapter.attach();
        double first = 0, last = 0;
        for (int step = 0; step < 20; ++step) {
            const at::Tensor ids = some_ids(c, 29 + step % 3);
            const at::Tensor want = there.step(*cpu, ids, 5e-3),
                             got = adapter.step(*here, ids.to(device), 5e-3);
            report.close(cat("training ", method, ", loss of step ", step), got, want, 1e-3);
            (step == 0 ? first : last) = got.item<double>();
        }
        report.expect(last < 0.9 * first,
                      cat("training ", method, ": the loss must fall, ", first, " -> ", last));
    }
}

// Causal attention in 16 bit takes a fused kernel, never the one that builds [T, T].
void fused_attention(Report& report, at::Device device) {
    if (!device.is_cuda()) return;
    const at::Tensor q = normal({1, 4, 256, 128}, 51).to(at::kBFloat16).to(device).requires_grad_(true);
    const int64_t choice = at::_fused_sdp_choice(q, q, q, {}, 0.0, true);
    report.expect(choice != 0, "scaled_dot_product_attention must not fall back to the plain form");
}

} // namespace

std::vector<Case> model_cases() {
    return {{"llama", against_float64}, {"training_run", training_run}, {"fused_attention", fused_attention}};
}

} // namespace dorabench::cases
