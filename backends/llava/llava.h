#pragma once
// LLaVA-1.5 (arXiv:2310.03744): a frozen CLIP image encoder, an MLP projector and a LLaMA decoder, as a
// Backend.
#include "harness/api/backend.h"

namespace dorabench {
BackendFactory llava_backend_factory();
} // namespace dorabench
