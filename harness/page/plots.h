#pragma once
// The figures of a report, one Vega-Lite description each: drawn in the page by Vega and written as SVG, PNG
// and PDF by vl-convert (write_plots). A description lies in assets/plots/<name>.vl.json; here its data is
// filled in. Scores are percent from here on; intervals are those of the tables.
#include "harness/report/curve.h"
#include <nlohmann/json.hpp>

namespace dorabench {

struct Plot {
    std::string name, title; // "rank_curve", "Average by rank"; the name is a file name
    std::string description; // one sentence: what is drawn, for screen readers and captions
    nlohmann::json spec;
};

// The description assets/plots/<name>.vl.json with `values` as its data. Error::internal where it is not
// installed.
Plot make_plot(const std::string& name, const std::string& title, const std::string& description,
               nlohmann::json values);

// Of one backbone; a figure without anything to draw is left out. prefix: before the names ("llama-7b_"), so
// that several backbones' figures lie in one folder.
std::vector<Plot> comparison_plots(const Comparison& comparison, const std::vector<RunRecord>& records,
                                   const std::vector<PublishedRow>& published, const std::string& prefix);

// folder/<name>.vl.json, and .svg, .png and .pdf through vl-convert in the program's Python (scripts/setup
// installs both). Error::resources says how to get vl-convert where it is absent; the descriptions are
// written all the same.
std::vector<std::string> write_plots(const std::vector<Plot>& plots, const std::string& folder);

std::string page_asset(const std::string& name); // share/dora-bench/page/<name>; Error::internal when absent
// The loss of steps.jsonl, thinned to at most `most` points, each the mean of its stretch: (step, loss).
std::vector<std::pair<int64_t, double>> training_curve(const std::string& run_folder, size_t most);

} // namespace dorabench
