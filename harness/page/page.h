#pragma once
// The report as one HTML page that works from a file: tables in the markup, figures drawn by the embedded
// Vega, the samples in a browser with filters; nothing is fetched.
#include "harness/store/store.h"

namespace dorabench {

struct PageOptions {
    bool live = false; // served by `serve`: asks for progress.json and says when there is more
    std::string stamp; // live: of the store as the page shows it (progress.h)
    std::string title = "dora-bench report";
};

std::string report_page(const std::vector<RunRecord>& records, const PageOptions& options = {});
// Every figure of these runs, for write_plots (plots.h).
struct Plot;
std::vector<Plot> report_plots(const std::vector<RunRecord>& records);

} // namespace dorabench
