#include "harness/cli/names.h"
#include "adapters/adapter_set.h"
#include "harness/base/env.h"
#include "harness/base/files.h"
#include "harness/plugin/plugin.h"
#include "tasks/metrics/metric.h"

namespace dorabench {

TaskCatalog& task_catalog() {
    static TaskCatalog catalog(share_folder() + "/specs");
    return catalog;
}

void use_plugin(const std::string& path, Registries& registries) {
    load_plugin(path, registries);
    for (const std::string& name : registries.tasks.names()) task_catalog().add(registries.tasks.get(name));
}

ConfigFile load_experiment(const ConfigOptions& options, const Globals& globals,
                           const std::vector<std::string>& axes) {
    std::vector<std::string> given;
    for (const LoadedPlugin& plugin : globals.registries->plugins) given.push_back(plugin.path);
    ConfigFile config = ConfigFile::load(options.config, options.overrides, axes, given);
    for (const std::string& path : config.plugins())
        if (exists(path))
            use_plugin(path, *globals.registries); // parse() reports the others with their place
    return config;
}

KnownNames known_names(const Registries& registries) {
    KnownNames names;
    names.backends = registries.backends.names();
    for (const std::string& backend : names.backends)
        for (const std::string& shape : registries.backends.get(backend).shape_names())
            names.shapes.push_back(shape);
    names.methods = adapter_methods();
    names.tasks = task_catalog().names();
    names.templates = task_catalog().template_names();
    for (const Metric& metric : metric_list()) names.metrics.push_back(metric.name);
    return names;
}

} // namespace dorabench
