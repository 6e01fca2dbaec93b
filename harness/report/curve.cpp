#include "harness/report/curve.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;

double log2_ratio(int64_t a, int64_t b) { return std::log2(static_cast<double>(b) / static_cast<double>(a)); }

double area_of(const std::vector<std::pair<int64_t, double>>& points) {
    double width = log2_ratio(points.front().first, points.back().first), area = 0;
    for (size_t i = 1; i < points.size() && width > 0; ++i)
        area += log2_ratio(points[i - 1].first, points[i].first) * (points[i].second + points[i - 1].second) /
                2 / width;
    return area;
}

// Of each seed that every rank has; else of the averages, without an interval.
Estimate area_over_seeds(const std::vector<CurvePoint>& points) {
    std::vector<double> areas;
    for (const auto& [seed, first] : points.front().averages) {
        std::vector<std::pair<int64_t, double>> curve;
        for (const CurvePoint& point : points)
            if (auto at = point.averages.find(seed); at != point.averages.end())
                curve.push_back({point.rank, at->second});
        if (curve.size() == points.size()) areas.push_back(area_of(curve));
    }
    if (areas.size() > 1) return over_seeds(areas);
    std::vector<std::pair<int64_t, double>> curve;
    for (const CurvePoint& point : points) curve.push_back({point.rank, point.average.value});
    double area = area_of(curve);
    return {area, area, area, true, false};
}

std::string with_half_width(const Estimate& estimate, double scale, int digits) {
    if (!estimate.present) return "-";
    std::string out = fixed(scale * estimate.value, digits);
    return estimate.high > estimate.low ? out + " ±" + fixed(scale * estimate.half_width(), digits) : out;
}

std::string curve_name(const RankCurve& curve) {
    return curve.label.empty() ? curve.method : cat(curve.method, " [", curve.label, "]");
}

struct Measure {
    const char* name;
    std::string (*cell)(const CurvePoint&);
};

const Measure kMeasures[] = {
    {"score",
     [](const CurvePoint& p) { return (p.collapsed ? "!" : "") + with_half_width(p.average, 100, 1); }},
    {"among parsed", [](const CurvePoint& p) { return with_half_width(p.among_parsed, 100, 1); }},
    {"unparsed %", [](const CurvePoint& p) { return with_half_width(p.unparsed, 100, 1); }},
    {"trainable", [](const CurvePoint& p) { return p.trainable > 0 ? with_commas(p.trainable) : "-"; }},
    {"peak MiB", [](const CurvePoint& p) { return with_half_width(p.memory, 1.0 / (1 << 20), 0); }},
    {"train s", [](const CurvePoint& p) { return with_half_width(p.seconds, 1, 1); }},
};

void add_curve_rows(const RankCurve& curve, const std::set<int64_t>& ranks, Table& table) {
    table.rules.push_back(table.rows.size());
    for (const Measure& measure : kMeasures) {
        std::vector<std::string> row = {curve_name(curve), measure.name};
        bool any = false;
        for (int64_t rank : ranks) {
            auto at = std::find_if(curve.points.begin(), curve.points.end(),
                                   [&](const CurvePoint& p) { return p.rank == rank; });
            row.push_back(at == curve.points.end() ? "-" : measure.cell(*at));
            any = any || row.back() != "-";
        }
        if (row[1] == "score") {
            for (const std::string& cell :
                 {fixed(100 * curve.range, 1), with_half_width(curve.area, 100, 1), cat(curve.best_rank),
                  cat(curve.smallest_near_best), cat(curve.smallest_in_interval)})
                row.push_back(cell);
        }
        if (any) table.rows.push_back(row);
    }
}

void add_rate_note(const RankCurve& curve, Table& table) {
    std::set<double> rates;
    std::vector<std::string> text;
    for (const CurvePoint& point : curve.points) {
        rates.insert(point.learning_rate);
        text.push_back(cat("r", point.rank, " ", point.learning_rate));
    }
    if (rates.size() == 1 && *rates.begin() > 0)
        table.notes.push_back(cat(curve_name(curve), ": learning rate ", *rates.begin(), " at every rank"));
    else if (rates.size() > 1)
        table.notes.push_back(cat(curve_name(curve), ": learning rate by rank: ", join(text, ", ")));
}

json estimate_json(const Estimate& estimate) {
    if (!estimate.present) return nullptr;
    return {{"value", estimate.value}, {"ci95", {estimate.low, estimate.high}}};
}

} // namespace

RankCurve finish_curve(RankCurve curve, double near) {
    auto& points = curve.points;
    std::sort(points.begin(), points.end(),
              [](const CurvePoint& a, const CurvePoint& b) { return a.rank < b.rank; });
    if (points.empty()) return curve;
    auto less = [](const CurvePoint& a, const CurvePoint& b) { return a.average.value < b.average.value; };
    const CurvePoint& best = *std::max_element(points.begin(), points.end(), less);
    curve.best_rank = best.rank;
    curve.range = best.average.value - std::min_element(points.begin(), points.end(), less)->average.value;
    double low = std::min(best.average.low, best.average.value);
    for (size_t i = points.size(); i-- > 0;) {
        if (points[i].average.value >= best.average.value - near) curve.smallest_near_best = points[i].rank;
        if (points[i].average.value >= low) curve.smallest_in_interval = points[i].rank;
    }
    curve.area = area_over_seeds(points);
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
        at->points.push_back({row.rank, row.average, row.learning_rate, collapsed, row.among_parsed,
                              row.unparsed, row.seconds, row.memory, row.trainable, row.averages});
    }
    out.erase(std::remove_if(out.begin(), out.end(),
                             [](const RankCurve& curve) { return curve.points.size() < 2; }),
              out.end());
    for (RankCurve& curve : out) curve = finish_curve(std::move(curve), near);
    return out;
}

std::vector<PublishedCurve> published_curves(const std::string& backbone,
                                             const std::vector<PublishedRow>& rows) {
    std::map<std::pair<std::string, std::string>, PublishedCurve> curves;
    for (const PublishedRow& row : rows) {
        if (!row.rank || !row.average || row.scores.empty()) continue;
        PublishedCurve& curve = curves[{canonical_backbone(row.backbone), row.method}];
        curve.method = row.method;
        curve.backbone = row.backbone;
        curve.points.push_back(&row);
        std::string table = cat(row.source, ", ", row.table);
        if (std::find(curve.tables.begin(), curve.tables.end(), table) == curve.tables.end())
            curve.tables.push_back(table);
    }
    std::vector<PublishedCurve> same, all;
    for (auto& [key, curve] : curves) {
        std::stable_sort(curve.points.begin(), curve.points.end(),
                         [](const PublishedRow* a, const PublishedRow* b) { return *a->rank < *b->rank; });
        std::set<int64_t> ranks;
        for (const PublishedRow* row : curve.points) ranks.insert(*row->rank);
        if (ranks.size() < 3) continue;
        all.push_back(curve);
        if (key.first == canonical_backbone(backbone)) same.push_back(curve);
    }
    return same.empty() ? all : same;
}

Table curves_as_table(const Comparison& comparison, const std::vector<RankCurve>& curves,
                      const std::vector<PublishedCurve>& published) {
    Table table;
    table.title = cat(comparison.backbone, ": average by rank");
    table.header = {"method", "measure"};
    table.key_columns = 2;
    std::set<int64_t> ranks;
    for (const RankCurve& curve : curves)
        for (const CurvePoint& point : curve.points) ranks.insert(point.rank);
    for (int64_t rank : ranks) table.header.push_back(cat("r", rank));
    for (const char* name : {"range", "area", "best rank", "within 1 point from", "in its interval from"})
        table.header.push_back(name);
    bool collapsed = false;
    for (const RankCurve& curve : curves) {
        add_curve_rows(curve, ranks, table);
        add_rate_note(curve, table);
        for (const CurvePoint& point : curve.points) collapsed = collapsed || point.collapsed;
    }
    for (const PublishedCurve& curve : published) {
        std::vector<std::string> row = {cat(curve.method, " (published)"), cat("score, ", curve.backbone)};
        bool any = false;
        for (int64_t rank : ranks) {
            std::vector<std::string> printed;
            for (const PublishedRow* point : curve.points)
                if (*point->rank == rank) printed.push_back(fixed(*point->average, 1));
            any = any || !printed.empty();
            row.push_back(printed.empty() ? "-" : join(printed, " or "));
        }
        if (!any) continue;
        table.rows.push_back(row);
        table.notes.push_back(cat(row[0], ": ", join(curve.tables, "; "), ", on ", curve.backbone));
    }
    table.align.assign(table.header.size(), Align::right);
    table.align[0] = table.align[1] = Align::left;
    table.notes.push_back(
        "range: largest minus smallest average; area: mean height over log2(rank); in points. "
        "In its interval from: the smallest rank whose average lies in the 95 % interval of the best.");
    if (collapsed) table.notes.push_back("!: a task stands below chance at this rank.");
    return table;
}

json curves_as_json(const std::vector<RankCurve>& curves) {
    json out = json::array();
    for (const RankCurve& curve : curves) {
        json points = json::array();
        for (const CurvePoint& point : curve.points)
            points.push_back({{"rank", point.rank},
                              {"average", point.average.value},
                              {"ci95", {point.average.low, point.average.high}},
                              {"learning_rate", point.learning_rate},
                              {"below_chance", point.collapsed},
                              {"among_parsed", estimate_json(point.among_parsed)},
                              {"unparsed_share", estimate_json(point.unparsed)},
                              {"trainable", point.trainable},
                              {"peak_memory_bytes", estimate_json(point.memory)},
                              {"train_seconds", estimate_json(point.seconds)}});
        out.push_back({{"method", curve.method},
                       {"settings", curve.label},
                       {"points", points},
                       {"range", curve.range},
                       {"area", curve.area.value},
                       {"area_ci95", {curve.area.low, curve.area.high}},
                       {"best_rank", curve.best_rank},
                       {"smallest_near_best", curve.smallest_near_best},
                       {"smallest_in_interval", curve.smallest_in_interval}});
    }
    return out;
}

json published_curves_as_json(const std::vector<PublishedCurve>& curves) {
    json out = json::array();
    for (const PublishedCurve& curve : curves) {
        json points = json::array();
        for (const PublishedRow* row : curve.points)
            points.push_back(
                {{"rank", *row->rank}, {"average_percent", *row->average}, {"table", row->table}});
        out.push_back({{"source", "published"},
                       {"method", curve.method},
                       {"backbone", curve.backbone},
                       {"tables", curve.tables},
                       {"points", points}});
    }
    return out;
}

} // namespace dorabench
