#include "harness/report/curve.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {

RankCurve finish_curve(RankCurve curve, double near) {
    auto& points = curve.points;
    std::sort(points.begin(), points.end(),
              [](const CurvePoint& a, const CurvePoint& b) { return a.rank < b.rank; });
    if (points.empty()) return curve;
    auto less = [](const CurvePoint& a, const CurvePoint& b) { return a.average.value < b.average.value; };
    const CurvePoint& best = *std::max_element(points.begin(), points.end(), less);
    curve.best_rank = best.rank;
    curve.range = best.average.value - std::min_element(points.begin(), points.end(), less)->average.value;
    for (size_t i = points.size(); i-- > 0;)
        if (points[i].average.value >= best.average.value - near) curve.smallest_near_best = points[i].rank;
    double width =
        std::log2(static_cast<double>(points.back().rank) / static_cast<double>(points.front().rank));
    for (size_t i = 1; i < points.size() && width > 0; ++i)
        curve.area +=
            std::log2(static_cast<double>(points[i].rank) / static_cast<double>(points[i - 1].rank)) *
            (points[i].average.value + points[i - 1].average.value) / 2 / width;
    return curve;
}

std::vector<RankCurve> rank_curves(const Comparison& comparison, double near) {
    std::vector<RankCurve> out;
    for (const MethodRow& row : comparison.rows) {
        if (row.rank <= 0 || !row.average.present) continue;
        auto at = std::find_if(out.begin(), out.end(), [&](const RankCurve& curve) {
            return curve.method == row.method && curve.label == row.label;
        });
        if (at == out.end()) {
            out.push_back({row.method, row.label, {}});
            at = out.end() - 1;
        }
        bool collapsed = std::any_of(row.tasks.begin(), row.tasks.end(),
                                     [](const auto& cell) { return cell.second.below_chance(); });
        at->points.push_back({row.rank, row.average, row.learning_rate, collapsed});
    }
    out.erase(std::remove_if(out.begin(), out.end(),
                             [](const RankCurve& curve) { return curve.points.size() < 2; }),
              out.end());
    for (RankCurve& curve : out) curve = finish_curve(std::move(curve), near);
    return out;
}

Table curves_as_table(const Comparison& comparison, const std::vector<RankCurve>& curves) {
    Table table;
    table.title = cat(comparison.backbone, ": average by rank");
    table.header = {"method"};
    std::set<int64_t> ranks;
    for (const RankCurve& curve : curves)
        for (const CurvePoint& point : curve.points) ranks.insert(point.rank);
    for (int64_t rank : ranks) table.header.push_back(cat("r", rank));
    for (const char* name : {"range", "area", "best rank", "smallest within 1 point"})
        table.header.push_back(name);
    bool collapsed = false;
    for (const RankCurve& curve : curves) {
        std::vector<std::string> row = {curve.label.empty() ? curve.method
                                                            : cat(curve.method, " [", curve.label, "]")};
        std::set<double> rates;
        std::vector<std::string> rates_text;
        for (int64_t rank : ranks) {
            auto at = std::find_if(curve.points.begin(), curve.points.end(),
                                   [&](const CurvePoint& p) { return p.rank == rank; });
            if (at == curve.points.end()) {
                row.push_back("-");
                continue;
            }
            collapsed = collapsed || at->collapsed;
            std::string half =
                at->average.high > at->average.low ? " ±" + fixed(100 * at->average.half_width(), 1) : "";
            row.push_back((at->collapsed ? "!" : "") + fixed(100 * at->average.value, 1) + half);
            rates.insert(at->learning_rate);
            rates_text.push_back(cat("r", rank, " ", at->learning_rate));
        }
        row.push_back(fixed(100 * curve.range, 1));
        row.push_back(fixed(100 * curve.area, 1));
        row.push_back(cat(curve.best_rank));
        row.push_back(cat(curve.smallest_near_best));
        table.rows.push_back(row);
        if (rates.size() == 1 && *rates.begin() > 0)
            table.notes.push_back(cat(row.front(), ": learning rate ", *rates.begin(), " at every rank"));
        else if (rates.size() > 1)
            table.notes.push_back(cat(row.front(), ": learning rate by rank: ", join(rates_text, ", ")));
    }
    table.align.assign(table.header.size(), Align::right);
    table.align[0] = Align::left;
    table.notes.push_back(
        "range: largest minus smallest average; area: mean height over log2(rank); in points.");
    if (collapsed) table.notes.push_back("!: a task stands below chance at this rank.");
    return table;
}

nlohmann::json curves_as_json(const std::vector<RankCurve>& curves) {
    nlohmann::json out = nlohmann::json::array();
    for (const RankCurve& curve : curves) {
        nlohmann::json points = nlohmann::json::array();
        for (const CurvePoint& point : curve.points)
            points.push_back({{"rank", point.rank},
                              {"average", point.average.value},
                              {"ci95", {point.average.low, point.average.high}},
                              {"learning_rate", point.learning_rate},
                              {"below_chance", point.collapsed}});
        out.push_back({{"method", curve.method},
                       {"settings", curve.label},
                       {"points", points},
                       {"range", curve.range},
                       {"area", curve.area},
                       {"best_rank", curve.best_rank},
                       {"smallest_near_best", curve.smallest_near_best}});
    }
    return out;
}

} // namespace dorabench
