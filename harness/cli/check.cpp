// check: the CI gate over the store's runs; --update writes the baseline from them.
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "harness/report/gate.h"
#include "harness/report/table.h"
#include <iostream>

namespace dorabench {
namespace {

std::vector<RunRecord> chosen(const CheckOptions& options) {
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

Table as_table(const std::vector<GateCell>& cells) {
    Table table;
    table.header = {"run", "task", "verdict", "baseline", "now", "p", "message"};
    table.align = {Align::left,  Align::left,  Align::left, Align::right,
                   Align::right, Align::right, Align::left};
    for (const GateCell& cell : cells) {
        bool judged = cell.verdict == "pass" || cell.verdict == "regressed";
        table.rows.push_back({cell.label, cell.task, cell.verdict, judged ? fixed(cell.baseline, 4) : "-",
                              judged ? fixed(cell.value, 4) : "-", judged ? fixed(cell.p, 3) : "-",
                              judged ? "" : cell.message});
    }
    return table;
}

// Workflow commands of GitHub Actions: one line each, with % and line ends escaped.
void annotate(const std::vector<GateCell>& cells) {
    for (const GateCell& cell : cells) {
        if (cell.verdict == "pass") continue;
        std::string text = replace_all(replace_all(cell.message, "%", "%25"), "\n", "%0A");
        std::cerr << "::error title=" << cell.verdict << "::" << cell.label << " " << cell.task << ": "
                  << text << "\n";
    }
}

} // namespace

int check_command(const CheckOptions& options, const Globals& globals) {
    std::vector<RunRecord> runs = chosen(options);
    if (options.update) {
        write_file_atomic(options.baseline, make_baseline(runs).dump(1) + "\n");
        log::info("baseline of ", runs.size(), " runs: ", options.baseline);
        return 0;
    }
    nlohmann::json baseline = nlohmann::json::parse(read_file(options.baseline), nullptr, false);
    if (baseline.is_discarded())
        throw Error::data(options.baseline, ": expected a baseline in JSON, as check --update writes it");
    std::vector<GateCell> cells = check_against(baseline, runs, !options.runs.empty());
    if (globals.format == "json")
        std::cout << gate_json(cells).dump(2) << "\n";
    else
        std::cout << render(as_table(cells), globals.format);
    if (!options.junit.empty()) write_file_atomic(options.junit, gate_junit(cells));
    if (!options.markdown.empty()) write_file_atomic(options.markdown, render(as_table(cells), "markdown"));
    if (options.github) annotate(cells);
    for (const GateCell& cell : cells)
        if (cell.verdict != "pass")
            std::cerr << "check: " << cell.verdict << ": " << cell.label << " " << cell.task << ": "
                      << cell.message << "\n";
    return gate_exit_code(cells);
}

} // namespace dorabench
