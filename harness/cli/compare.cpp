// compare A B: the same items answered by two runs, or by two methods (runs paired by their seeds).
#include "harness/compare/compare.h"
#include "harness/base/error.h"
#include "harness/cli/commands.h"
#include "harness/compare/selection.h"
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {

int compare_command(const CompareOptions& options, const Globals& globals) {
    std::vector<RunRecord> store = read_runs(options.results, options.allow_peek);
    if (store.empty())
        throw Error::config(options.results, ": expected a results folder with runs, it holds none");
    if (!options.select.empty()) select_by_validation(store, options.select);
    CompareReport report = compare_sides(store, options.a, options.b);
    if (globals.format == "json")
        std::cout << compare_as_json(report).dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
                  << "\n";
    else
        std::cout << compare_as_text(report, globals.format);
    return 0;
}

} // namespace dorabench
