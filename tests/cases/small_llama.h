#pragma once
// A LLaMA of any shape with random weights and adapters on q, k, v, up, down of every layer, without files:
// what the model cases and the GPU benchmark train. A step: forward, loss of the next token, backward, AdamW.
#include "adapters/site_layer.h"
#include "backends/llama/model.h"
#include "backends/ops/adamw.h"
#include <memory>

namespace dorabench::cases {

struct TargetLayer {
    LinearSite* site;
    std::shared_ptr<SiteLayer> layer;
};

// One adapter over a shared base; attach() puts it on.
class Adapter {
public:
    // method: lora, dora or dora_full; B is not zero, so that every gradient is alive. seed: the same values
    // on every device.
    Adapter(LlamaModel& model, const std::string& method, int64_t rank, double dropout, uint64_t seed);
    void attach();
    // Returns the loss before the update, a scalar on the device.
    at::Tensor step(LlamaModel& model, const at::Tensor& ids, double lr);
    const std::vector<at::Tensor>& parameters() const { return parameters_; }
    int64_t trainable() const;

private:
    std::shared_ptr<AdapterClock> clock_ = std::make_shared<AdapterClock>();
    std::vector<TargetLayer> layers_;
    std::vector<at::Tensor> parameters_, first_, second_;
    int64_t steps_ = 0;
};

// Weights drawn on the CPU in float64 and rounded to `rounded`, then in `type` on the device (tests), or
// drawn on the device itself (large models: quick).
std::unique_ptr<LlamaModel> random_llama(const LlamaConfig& config, at::ScalarType type,
                                         at::ScalarType rounded, at::Device device, bool on_device,
                                         bool math_attention);
// Mean loss of the next token over one row of ids [N].
at::Tensor row_loss(LlamaModel& model, const at::Tensor& ids);

} // namespace dorabench::cases
