// report: tables, rank curves, figures and the page of the store's runs.
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "harness/compare/letters.h"
#include "harness/compare/selection.h"
#include "harness/page/page.h"
#include "harness/page/plots.h"
#include <iostream>

namespace dorabench {
namespace {

// A word names a run by id or the beginning of one, or all runs of a name.
std::vector<RunRecord> chosen(std::vector<RunRecord> all, const std::vector<std::string>& words,
                              const std::string& results) {
    if (words.empty()) return all;
    std::vector<RunRecord> out;
    std::vector<std::string> known;
    for (const RunRecord& run : all) {
        known.push_back(run.id);
        known.push_back(run.name);
    }
    std::vector<bool> taken(all.size());
    for (const std::string& word : words) {
        bool found = false;
        for (size_t i = 0; i < all.size(); ++i)
            if (!word.empty() && (starts_with(all[i].id, word) || all[i].name == word))
                found = taken[i] = true;
        if (!found)
            throw Error::config(results, ": no run is called \"", word, "\"", did_you_mean(word, known));
    }
    for (size_t i = 0; i < all.size(); ++i)
        if (taken[i]) out.push_back(std::move(all[i]));
    return out;
}

} // namespace

int report_command(const ReportOptions& options, const Globals& globals) {
    if (!is_folder(options.results + "/runs"))
        throw Error::data(options.results,
                          ": expected a results folder with runs/, found none; give it with --results");
    std::vector<RunRecord> all = read_runs(options.results, options.allow_peek);
    if (!options.select.empty()) select_by_validation(all, options.select);
    std::vector<RunRecord> runs = chosen(std::move(all), options.runs, options.results);
    if (!options.plots.empty()) {
        std::vector<std::string> files = write_plots(report_plots(runs), options.plots);
        log::info("figures: ", files.size(), " files in ", options.plots);
        if (options.to.empty() && globals.format == "text") return 0;
    }
    std::string text = globals.format == "html" ? report_page(runs)
                                                : comparison_text(lettered_comparisons(runs), globals.format);
    if (options.to.empty()) {
        std::cout << text;
    } else {
        write_file_atomic(options.to, text);
        log::info("report: ", options.to);
    }
    return 0;
}

} // namespace dorabench
