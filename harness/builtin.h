#pragma once
#include "harness/cli/commands.h"

namespace dorabench {
void register_builtin(Registries& registries); // every plug-in that is linked in, by name
} // namespace dorabench
