// Everything that is printed about a set of runs, in one format.
#include "harness/base/env.h"
#include "harness/base/text.h"
#include "harness/report/curve.h"
#include <nlohmann/json.hpp>

namespace dorabench {

std::vector<Table> comparison_tables(const Comparison& comparison,
                                     const std::vector<PublishedRow>& published) {
    std::vector<Table> tables;
    if (!comparison.rows.empty()) tables.push_back(comparison_as_table(comparison, published));
    if (std::vector<RankCurve> curves = rank_curves(comparison); !curves.empty())
        tables.push_back(
            curves_as_table(comparison, curves, published_curves(comparison.backbone, published)));
    if (!comparison.unfinished.empty()) tables.push_back(unfinished_as_table(comparison));
    return tables;
}

std::string comparison_text(const std::vector<Comparison>& comparisons, const std::string& format) {
    std::vector<PublishedRow> published = read_published(share_folder() + "/baselines");
    if (format == "json") {
        nlohmann::json backbones = nlohmann::json::array();
        for (const Comparison& comparison : comparisons) {
            backbones.push_back(comparison_as_json(comparison, published));
            std::vector<RankCurve> curves = rank_curves(comparison);
            backbones.back()["rank_curves"] = curves_as_json(curves);
            if (!curves.empty())
                backbones.back()["published_rank_curves"] =
                    published_curves_as_json(published_curves(comparison.backbone, published));
        }
        nlohmann::json out = {{"schema_version", kSchemaVersion}, {"backbones", backbones}};
        return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    }
    std::vector<std::string> blocks;
    for (const Comparison& comparison : comparisons) {
        if (format == "csv") {
            blocks.push_back(comparison_as_csv(comparison, published, blocks.empty()));
            continue;
        }
        for (const Table& table : comparison_tables(comparison, published))
            blocks.push_back(render(table, format));
    }
    if (blocks.empty()) return render(Table{.header = {"method"}, .notes = {"no runs"}}, format);
    return join(blocks, format == "csv" ? "" : "\n");
}

} // namespace dorabench
