#include "harness/page/page.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/compare/compare.h"
#include "harness/compare/letters.h"
#include "harness/page/browser.h"
#include "harness/page/page_tables.h"
#include "harness/page/plots.h"
#include <kainjow/mustache.hpp>

namespace dorabench {
namespace {

using kainjow::mustache::data;
using nlohmann::json;

// JSON inside a script element: no text of it may end the element or open a comment.
std::string embedded(const json& value) {
    std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    return replace_all(text, "<", "\\u003c");
}

std::string file_name(const std::string& text) {
    std::string out;
    for (char c : text) out += std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' ? c : '_';
    return out;
}

std::string prefix_of(const Comparison& comparison, size_t backbones) {
    return backbones > 1 ? file_name(comparison.backbone) + "_" : "";
}

std::string vega() {
    const std::string path = share_folder() + "/vega/vega.js";
    return exists(path) ? read_file(path, size_t(64) << 20) : "";
}

} // namespace

std::vector<Plot> report_plots(const std::vector<RunRecord>& records) {
    std::vector<PublishedRow> published = read_published(share_folder() + "/baselines");
    std::vector<Comparison> comparisons = lettered_comparisons(records);
    std::vector<Plot> out;
    for (const Comparison& comparison : comparisons)
        for (Plot& plot :
             comparison_plots(comparison, records, published, prefix_of(comparison, comparisons.size())))
            out.push_back(std::move(plot));
    return out;
}

std::string report_page(const std::vector<RunRecord>& records, const PageOptions& options) {
    std::vector<PublishedRow> published = read_published(share_folder() + "/baselines");
    std::vector<Comparison> comparisons = lettered_comparisons(records);
    SampleBrowser browser;
    json specs = json::array(), tasks = json::array();
    data sections(data::type::list);
    for (size_t i = 0; i < comparisons.size(); ++i) {
        const Comparison& comparison = comparisons[i];
        data section;
        section.set("id", cat("backbone-", i));
        section.set("backbone", comparison.backbone.empty() ? "runs" : comparison.backbone);
        std::string tables;
        for (const Table& table : comparison_tables(comparison, published)) tables += render(table, "html");
        if (Table letters = letters_as_table(comparison); !letters.rows.empty())
            tables += render(letters, "html");
        section.set("tables", tables);
        data figures(data::type::list);
        for (Plot& plot : comparison_plots(comparison, records, published, "")) {
            data figure;
            figure.set("index", cat(specs.size()));
            figure.set("name", plot.name);
            figure.set("title", plot.title);
            figure.set("description", plot.description);
            figures.push_back(figure);
            specs.push_back(std::move(plot.spec));
        }
        section.set("figures", figures);
        section.set("pareto", render(pareto_table(pareto_of(comparison, records)), "html"));
        section.set("accounting", render(accounting_as_table(comparison, records, published), "html"));
        sections.push_back(section);
        for (json& task : browser.tasks_of(comparison, records)) tasks.push_back(std::move(task));
    }
    std::string script = vega();
    data page;
    page.set("title", options.title);
    page.set("version", cat(version(), " (commit ", commit(), ")"));
    page.set("runs", cat(records.size()));
    page.set("sections", sections);
    page.set("provenance", render(provenance_as_table(records), "html"));
    page.set("settings", render(shared_settings_as_table(records), "html"));
    page.set("live", options.live);
    page.set("stamp", options.stamp);
    page.set("no_vega", script.empty());
    page.set("style", page_asset("page.css"));
    page.set("vega", script);
    page.set("script", page_asset("page.js"));
    page.set("specs", embedded(specs));
    page.set("samples", embedded(tasks));
    kainjow::mustache::mustache html(page_asset("page.html"));
    if (!html.is_valid()) throw Error::internal("page.html: ", html.error_message());
    return html.render(page);
}

} // namespace dorabench
