// Everything that is printed about a set of runs, in one format.
#include "harness/base/env.h"
#include "harness/base/text.h"
#include "harness/report/curve.h"
#include <nlohmann/json.hpp>

namespace dorabench {

std::string comparison_table(const std::vector<RunRecord>& records, const std::string& format) {
    std::vector<PublishedRow> published = read_published(share_folder() + "/baselines");
    std::vector<Comparison> comparisons = make_comparisons(records);
    if (format == "json") {
        nlohmann::json backbones = nlohmann::json::array();
        for (const Comparison& comparison : comparisons) {
            backbones.push_back(comparison_as_json(comparison, published));
            backbones.back()["rank_curves"] = curves_as_json(rank_curves(comparison));
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
        if (!comparison.rows.empty())
            blocks.push_back(render(comparison_as_table(comparison, published), format));
        std::vector<RankCurve> curves = rank_curves(comparison);
        if (!curves.empty()) blocks.push_back(render(curves_as_table(comparison, curves), format));
        if (!comparison.unfinished.empty()) blocks.push_back(render(unfinished_as_table(comparison), format));
    }
    if (blocks.empty()) return render(Table{.header = {"method"}, .notes = {"no runs"}}, format);
    return join(blocks, format == "csv" ? "" : "\n");
}

} // namespace dorabench
