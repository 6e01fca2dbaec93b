#pragma once
// The names that a configuration may use, gathered from the registries, the adapters and the task specs
// beside the program.
#include "harness/cli/commands.h"
#include "harness/config/config.h"
#include "tasks/catalog.h"

namespace dorabench {

// Loads a plug-in once, and makes its tasks known. Error{plugin}.
void use_plugin(const std::string& path, Registries& registries);
// ConfigFile::load, then the plug-ins that the file names, so that a plan over it knows their names. Those of
// --plugin, loaded before, are added to the file's, so that the run's record names all.
ConfigFile load_experiment(const ConfigOptions& options, const Globals& globals,
                           const std::vector<std::string>& axes = {});
KnownNames known_names(const Registries& registries);
TaskCatalog& task_catalog(); // of share_folder()/specs, read on first use

} // namespace dorabench
