#pragma once
// adapter_config.json in HF PEFT's fields. What PEFT has no field for (norm_grad, where dropout sits,
// magnitude-only modules, parameters trained beside the adapter) stands in one object "dora_bench", written
// only where it says something.
#include "adapters/choose_sites.h"
#include "harness/api/settings.h"
#include <string>

namespace dorabench {

// rank_factor: 2 for a PiSSA adapter, which is written against the original base as [A; A0], [B, -B0].
std::string adapter_config_text(const AdapterSettings& settings, const AdapterChoice& choice,
                                const std::string& backend, const std::string& base_name,
                                int64_t rank_factor);

// projection_prng_key of a folder's config where the folder has none of its own tensors for it.
inline constexpr const char* kConfigFile = "adapter_config.json";
inline constexpr const char* kTensorFile = "adapter_model.safetensors";
inline constexpr const char* kKeyPrefix = "base_model.model.";

} // namespace dorabench
