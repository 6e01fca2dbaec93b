// check: the CI gate over the store's runs; --update writes the baseline from them.
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "harness/cli/provenance.h"
#include "harness/compare/gate.h"
#include <filesystem>
#include <iostream>

namespace dorabench {
namespace {

using nlohmann::json;

std::vector<RunRecord> chosen_runs(const CheckOptions& options) {
    std::vector<RunRecord> all = read_runs(options.results), out;
    if (options.runs.empty()) return all;
    for (const std::string& word : options.runs) {
        size_t before = out.size();
        for (const RunRecord& run : all)
            if (!word.empty() && (starts_with(run.id, word) || run.name == word)) out.push_back(run);
        if (out.size() == before)
            throw Error::config(options.results, ": no run is called \"", word,
                                "\"; `list runs` names them all");
    }
    return out;
}

// Runs that lost a selection were never tested and are no part of a baseline.
void update(const CheckOptions& options, std::vector<RunRecord> runs) {
    std::erase_if(runs, [](const RunRecord& run) { return run.status == "not selected"; });
    json earlier;
    if (exists(options.baseline)) {
        try {
            earlier = read_baseline(options.baseline);
        } catch (const Error& error) {
            log::warning(error.what(), "; it is replaced, and noise floors in it are lost");
        }
    }
    json provenance = {{"created", utc_now()},
                       {"version", version()},
                       {"commit", commit()},
                       {"host", host_description()},
                       {"libtorch", libtorch_version()}};
    json baseline = make_baseline(runs, earlier, provenance);
    if (const auto folder = std::filesystem::path(options.baseline).parent_path(); !folder.empty())
        make_folder(folder.string());
    write_file_atomic(options.baseline, baseline.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
    log::info("baseline of ", runs.size(), runs.size() == 1 ? " run, " : " runs, ", baseline["cells"].size(),
              " cells: ", options.baseline);
}

} // namespace

int check_command(const CheckOptions& options, const Globals& globals) {
    std::vector<RunRecord> runs = chosen_runs(options);
    if (options.update) {
        update(options, std::move(runs));
        return 0;
    }
    GateReport report = check_against(read_baseline(options.baseline), runs, !options.runs.empty());
    if (globals.format == "json")
        std::cout << gate_as_json(report).dump(2, ' ', false, json::error_handler_t::replace) << "\n";
    else
        std::cout << gate_as_text(report, globals.format);
    if (!options.junit.empty()) write_file_atomic(options.junit, gate_as_junit(report));
    if (!options.markdown.empty()) write_file_atomic(options.markdown, gate_as_markdown(report));
    if (options.github) std::cerr << gate_as_github(report);
    for (const GateCell& cell : report.cells)
        if (!options.github && cell.verdict != "pass" && cell.verdict != "new")
            std::cerr << "check: " << cell.verdict << ": " << cell.label << " " << cell.task << ": "
                      << cell.message << "\n";
    return report.exit_code();
}

} // namespace dorabench
