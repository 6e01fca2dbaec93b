#pragma once
// What builtin.cpp and plug-ins fill before the first run: factories by name. The tasks of tasks/specs are
// not here (tasks/catalog.h reads them); a plug-in's tasks join them there.
#include "harness/api/backend.h"
#include "harness/api/registry.h"
#include "harness/api/task_factory.h"

namespace dorabench {

struct LoadedPlugin {
    std::string name, path; // as it calls itself; absolute
};

struct Registries {
    Registry<BackendFactory> backends{"backend"};
    Registry<TaskFactory> tasks{"task"};
    std::vector<LoadedPlugin> plugins; // in the order in which they were loaded
};

} // namespace dorabench
