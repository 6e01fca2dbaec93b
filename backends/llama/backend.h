#pragma once
// LLaMA 1, 2, 3, 3.1, 3.2 (and what shares their computation: Mistral without a sliding window, Qwen2) as a
// Backend.
#include "harness/api/backend.h"

namespace dorabench {
BackendFactory llama_backend_factory();
} // namespace dorabench
