#pragma once
// BART and VL-BART (arXiv:1910.13461, arXiv:2102.02779 as VL-Adapter trains it) as a Backend.
#include "harness/api/backend.h"

namespace dorabench {
BackendFactory vlbart_backend_factory();
} // namespace dorabench
