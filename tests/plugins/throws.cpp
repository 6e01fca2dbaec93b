// A plug-in whose register function fails.
#include "harness/api/plugin.h"
#include <stdexcept>

namespace {
void register_all(dorabench::Registries&) { throw std::runtime_error("its licence server is asleep"); }
} // namespace

DORABENCH_PLUGIN("throws", register_all)
