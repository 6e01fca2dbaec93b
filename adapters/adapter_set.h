#pragma once
// An adapter on a backbone: all its layers, their trainable tensors under HF PEFT's names, saving, loading,
// merging. What the trainer, the evaluator and the commands hold; the methods themselves stand in their own
// files.
#include "backends/ops/linear_site.h"
#include "harness/api/backend.h"
#include "harness/api/settings.h"
#include <functional>
#include <memory>

namespace dorabench {

struct TrainableTensor {
    std::string name;  // on disk: "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"; full
                       // fine-tuning and train_also: the base name
    std::string group; // lora_A | lora_B | magnitude | vera_d | vera_b | weight: the liveness check's groups
    at::Tensor tensor; // leaf, float32 for adapters, requires_grad
};

class AdapterSet {
public:
    virtual ~AdapterSet() = default;
    virtual const AdapterSettings& settings() const = 0;
    virtual std::vector<TrainableTensor> trainable() = 0; // fixed order; what the optimiser holds
    // To be called whenever trainable tensors changed (optimiser step, load): norms are recomputed once, at
    // next use.
    virtual void changed() = 0;
    // Dropout masks are a function of (seed, step, micro_batch, site): call before every forward pass in
    // training.
    virtual void begin_micro_batch(uint64_t seed, int64_t step, int64_t micro_batch) = 0;
    virtual void set_training(bool training) = 0; // dropout on or off
    virtual void set_enabled(bool enabled) = 0;   // false: the plain base (identity check); not for ft
    // HF PEFT folder: adapter_model.safetensors + adapter_config.json (peft_type LORA, VERA, or our own
    // DVORA). ft and train_also tensors are saved too (under their base names, in modules_to_save's place).
    virtual void save(const std::string& folder, const std::string& base_name) const = 0;
    // Copies a saved folder's tensors in; every key must match both ways (Error::data lists what is missing
    // or unknown).
    virtual void load(const std::string& folder) = 0;
    // float32 merged weights by base parameter name, one rounding left to the caller; not for ft (whose
    // weights are the base's).
    virtual void for_each_merged(
        const std::function<void(const std::string& weight_name, const at::Tensor& merged)>& f) const = 0;
    // Makes every adapter a no-op on the base, whatever it was started from: B and vera_b to zero, each
    // magnitude to the row norm of its base weight. The identity check calls it on copies' behalf and
    // restores the tensors afterwards.
    virtual void reset_to_identity() = 0;
    virtual std::vector<std::string>
    dead_rows() const = 0; // "model.layers.0.self_attn.o_proj: 511 of 4096 rows have norm 0"
};

// Chooses the sites, draws the initial values from the seed (or reads settings.init), attaches a layer to
// each. Error::config when a pattern in target_modules meets no site.
std::unique_ptr<AdapterSet> attach_adapter(Backend& backend, const AdapterSettings& settings, uint64_t seed);
// The settings that a PEFT (or DVORA) folder's adapter_config.json states; an option that changes the
// mathematics and is not supported is refused by name (Error::data).
AdapterSettings read_adapter_settings(const std::string& folder);

struct ModuleCount {
    std::string name, kind;
    std::vector<int64_t> shape;
    int64_t trainable = 0;
}; // kind: lora, magnitude, …, base
struct AdapterCount {
    int64_t trainable = 0; // VeRA's frozen projections are not counted
    int64_t added = 0;     // adapter parameters beside the base's (total = base + added)
    int64_t base = 0;
    int64_t stored_bytes = 0; // of the saved adapter, projections included where saved
    std::vector<ModuleCount> modules;
};
// From shapes alone; the same site choice and formulas as attach_adapter. Errors as there.
AdapterCount count_adapter(const ModelShapes& shapes, const AdapterSettings& settings);

std::vector<std::string> adapter_methods(); // none, ft, lora, dora, vera, dvora
// One line of help a method, for `list adapters`.
std::string adapter_help(const std::string& method);

} // namespace dorabench
