// list: what there is, with help and origin.
#include "adapters/adapter_set.h"
#include "harness/base/env.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/cli/names.h"
#include "tasks/metrics/metric.h"
#include "harness/report/table.h"
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;

Table backends_table(const Globals& globals) {
    Table table{.header = {"name", "help", "shapes", "origin"}};
    const auto& backends = globals.registries->backends;
    for (const std::string& name : backends.names()) {
        const BackendFactory& factory = backends.get(name);
        table.rows.push_back({name, factory.help, join(factory.shape_names(), " "), factory.origin});
    }
    return table;
}

Table adapters_table() {
    Table table{.header = {"name", "help", "origin"}};
    for (const std::string& method : adapter_methods())
        table.rows.push_back({method, adapter_help(method), "built in"});
    return table;
}

Table tasks_table() {
    Table table{.header = {"name", "alias", "kind", "help", "origin"}};
    for (const TaskInfo& task : task_catalog().tasks())
        table.rows.push_back({task.name, task.alias, task.kind, task.help, task.origin});
    return table;
}

Table metrics_table() {
    Table table{.header = {"name", "help", "origin"}};
    for (const Metric& metric : metric_list())
        table.rows.push_back({metric.name, metric.help, "built in"});
    return table;
}

// A configuration's first comment is the command that runs it.
Table configs_table() {
    Table table{.header = {"file", "command"}};
    std::string root = share_folder() + "/configs";
    std::vector<std::string> files;
    std::error_code ignored;
    for (const auto& entry :
         fs::recursive_directory_iterator(root, fs::directory_options::follow_directory_symlink, ignored)) {
        std::string name = fs::relative(entry.path(), root, ignored).string();
        if (entry.path().extension() == ".yaml" && !starts_with(name, "parts/")) files.push_back(name);
    }
    std::sort(files.begin(), files.end());
    for (const std::string& name : files) {
        std::string text = read_file(root + "/" + name, size_t(1) << 20),
                    line = text.substr(0, text.find('\n'));
        table.rows.push_back({"configs/" + name, starts_with(line, "#") ? trim(line.substr(1)) : ""});
    }
    return table;
}

Table runs_table(const std::string& results) {
    Table table{
        .header = {"run", "name", "backbone", "method", "rank", "seed", "status", "average", "started", "error"}};
    for (const RunRecord& run : read_runs(results))
        table.rows.push_back({run.id, run.name, run.backbone, run.method, run.rank > 0 ? cat(run.rank) : "-",
                              cat(run.seed), run.status, run.has_average ? fixed(100 * run.average, 1) : "-",
                              run.started, run.error});
    return table;
}

} // namespace

int list_command(const std::string& what, const std::string& results, const Globals& globals) {
    static const std::vector<std::string> kinds = {"backends", "adapters", "tasks",
                                                   "metrics",  "configs",  "runs"};
    Table table;
    if (what == "backends")
        table = backends_table(globals);
    else if (what == "adapters")
        table = adapters_table();
    else if (what == "tasks")
        table = tasks_table();
    else if (what == "metrics")
        table = metrics_table();
    else if (what == "configs")
        table = configs_table();
    else if (what == "runs")
        table = runs_table(results);
    else
        throw Error::config("list: expected one of ", join(kinds, ", "), ", got \"", what, "\"",
                            did_you_mean(what, kinds));
    table.align.assign(table.header.size(), Align::left);
    if (globals.format != "json") {
        std::cout << render(table, globals.format);
        return 0;
    }
    nlohmann::json rows = nlohmann::json::array();
    for (const auto& row : table.rows) {
        nlohmann::json object;
        for (size_t column = 0; column < table.header.size(); ++column)
            object[table.header[column]] = row[column];
        rows.push_back(object);
    }
    std::cout << rows.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    return 0;
}

} // namespace dorabench
