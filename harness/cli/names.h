#pragma once
// The names that a configuration may use, gathered from the registries, the adapters and the task specs
// beside the program.
#include "harness/cli/commands.h"
#include "harness/config/config.h"
#include "tasks/catalog.h"

namespace dorabench {

KnownNames known_names(const Registries& registries);
TaskCatalog& task_catalog(); // of share_folder()/specs, read on first use

} // namespace dorabench
