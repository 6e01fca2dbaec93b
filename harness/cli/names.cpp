#include "harness/cli/names.h"
#include "adapters/adapter_set.h"
#include "harness/base/env.h"
#include "tasks/metrics/metric.h"

namespace dorabench {

TaskCatalog& task_catalog() {
    static TaskCatalog catalog(share_folder() + "/specs");
    return catalog;
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
