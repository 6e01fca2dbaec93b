#include "harness/page/plots.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;

constexpr size_t kCurvePoints = 150;      // of one run's training curve
constexpr size_t kAllCurvePoints = 12000; // of all runs together

std::string short_task(const std::string& task) { return task.substr(task.find_last_of('/') + 1); }

std::string curve_name(const RankCurve& curve) {
    return curve.label.empty() ? curve.method : cat(curve.method, " [", curve.label, "]");
}

json with_interval(json point, const Estimate& estimate, double scale) {
    point["value"] = scale * estimate.value;
    point["low"] = scale * estimate.low;
    point["high"] = scale * estimate.high;
    return point;
}

json score_values(const Comparison& comparison) {
    json values = json::array();
    for (const MethodRow& row : comparison.rows) {
        auto add = [&](const std::string& task, const Estimate& estimate, const std::string& letters) {
            auto order = std::find_if(comparison.tasks.begin(), comparison.tasks.end(),
                                      [&](const std::string& one) { return short_task(one) == task; }) -
                         comparison.tasks.begin(); // the average last
            if (estimate.present)
                values.push_back(with_interval({{"row", row_name(row)},
                                                {"method", row.method},
                                                {"task", task},
                                                {"order", order},
                                                {"letters", letters}},
                                               estimate, 100));
        };
        auto letters = [&](const std::string& task) {
            auto at = row.letters.find(task);
            return at == row.letters.end() ? std::string() : at->second;
        };
        for (const std::string& task : comparison.tasks)
            if (auto at = row.tasks.find(task); at != row.tasks.end())
                add(short_task(task), at->second.estimate, letters(task));
        if (comparison.tasks.size() > 1) add("average", row.average, letters(kAverageLetters));
    }
    return values;
}

json rank_values(const std::vector<RankCurve>& curves, const std::vector<PublishedCurve>& published) {
    json values = json::array();
    for (const RankCurve& curve : curves)
        for (const CurvePoint& point : curve.points)
            values.push_back(
                with_interval({{"rank", point.rank}, {"series", curve_name(curve)}, {"kind", "measured"}},
                              point.average, 100));
    for (const PublishedCurve& curve : published)
        for (const PublishedRow* row : curve.points)
            values.push_back({{"rank", *row->rank},
                              {"series", cat(curve.method, " (published, ", curve.backbone, ")")},
                              {"kind", "published"},
                              {"table", row->table},
                              {"value", *row->average},
                              {"low", *row->average},
                              {"high", *row->average}});
    return values;
}

json measure_values(const std::vector<RankCurve>& curves) {
    json values = json::array();
    for (const RankCurve& curve : curves)
        for (const CurvePoint& point : curve.points) {
            int order = 0;
            auto add = [&](const char* measure, const Estimate& estimate, double scale) {
                ++order;
                if (estimate.present)
                    values.push_back(with_interval({{"rank", point.rank},
                                                    {"series", curve_name(curve)},
                                                    {"measure", measure},
                                                    {"order", order}},
                                                   estimate, scale));
            };
            auto exact = static_cast<double>(point.trainable);
            add("among parsed (%)", point.among_parsed, 100);
            add("unparsed (%)", point.unparsed, 100);
            add("trainable (thousands)", {exact, exact, exact, point.trainable > 0, false}, 1e-3);
            add("peak memory (MiB)", point.memory, 1.0 / (1 << 20));
            add("training (s)", point.seconds, 1);
        }
    return values;
}

// Score against a cost; a point is on the front when no other scores as well at less cost.
json pareto_values(const Comparison& comparison, double (*cost)(const MethodRow&)) {
    json values = json::array();
    for (const MethodRow& row : comparison.rows) {
        if (!row.average.present || cost(row) <= 0) continue;
        bool front =
            std::none_of(comparison.rows.begin(), comparison.rows.end(), [&](const MethodRow& other) {
                return other.average.present && cost(other) > 0 && other.average.value >= row.average.value &&
                       cost(other) <= cost(row) &&
                       (other.average.value > row.average.value || cost(other) < cost(row));
            });
        values.push_back(with_interval(
            {{"row", row_name(row)}, {"method", row.method}, {"cost", cost(row)}, {"front", front}},
            row.average, 100));
    }
    return values;
}

json loss_values(const Comparison& comparison, const std::map<std::string, const RunRecord*>& records) {
    size_t runs = 0;
    for (const MethodRow& row : comparison.rows) runs += row.runs.size();
    size_t most = std::clamp<size_t>(kAllCurvePoints / std::max<size_t>(1, runs), 20, kCurvePoints);
    json values = json::array();
    for (const MethodRow& row : comparison.rows)
        for (size_t i = 0; i < row.runs.size(); ++i)
            for (const auto& [step, loss] : training_curve(records.at(row.runs[i])->path, most))
                values.push_back({{"row", row_name(row)},
                                  {"method", row.method},
                                  {"run", row.runs[i]},
                                  {"seed", row.seeds[i]},
                                  {"step", step},
                                  {"loss", loss}});
    return values;
}

json parse_values(const Comparison& comparison) {
    json values = json::array();
    for (const MethodRow& row : comparison.rows)
        for (const std::string& task : comparison.tasks)
            if (auto at = row.tasks.find(task); at != row.tasks.end() && at->second.n > 0)
                values.push_back({{"row", row_name(row)},
                                  {"task", short_task(task)},
                                  {"unparsed", at->second.unparsed},
                                  {"n", at->second.n},
                                  {"share", 100.0 * static_cast<double>(at->second.unparsed) /
                                                static_cast<double>(at->second.n)}});
    return values;
}

} // namespace

Plot make_plot(const std::string& name, const std::string& title, const std::string& description,
               json values) {
    Plot plot{name, title, description, json::parse(page_asset("plots/" + name + ".vl.json"))};
    plot.spec["title"] = title;
    plot.spec["description"] = description;
    plot.spec["data"] = {{"values", std::move(values)}};
    return plot;
}

std::vector<Plot> comparison_plots(const Comparison& comparison, const std::vector<RunRecord>& records,
                                   const std::vector<PublishedRow>& published, const std::string& prefix) {
    std::vector<Plot> out;
    const std::string on = comparison.backbone.empty() ? "" : " on " + comparison.backbone;
    auto add = [&](const char* name, const char* as, const std::string& title, const std::string& description,
                   json values) {
        if (values.empty()) return;
        out.push_back(make_plot(name, title, description, std::move(values)));
        out.back().name = prefix + as;
    };
    std::map<std::string, const RunRecord*> by_id;
    for (const RunRecord& record : records) by_id[record.id] = &record;

    add("scores", "scores", "Scores" + on, "Score of every method on every task with 95 % intervals.",
        score_values(comparison));
    std::vector<RankCurve> curves = rank_curves(comparison);
    if (!curves.empty()) {
        std::vector<PublishedCurve> printed = published_curves(comparison.backbone, published);
        bool same = !printed.empty() &&
                    canonical_backbone(printed.front().backbone) == canonical_backbone(comparison.backbone);
        add("rank_curve", "rank_curve", "Average by rank" + on,
            "Average score against rank, with 95 % bands; dashed: as published.",
            rank_values(curves, same ? printed : std::vector<PublishedCurve>()));
        if (!same)
            add("rank_curve", "rank_curve_published", "Average by rank as published",
                "Average score against rank as the papers printed it, on their backbones; not measured here.",
                rank_values({}, printed));
        add("rank_measures", "rank_measures", "Other measures by rank" + on,
            "Accuracy among parsed answers, unparsed answers, parameters, memory and seconds against rank.",
            measure_values(curves));
    }
    add("pareto_parameters", "pareto_parameters", "Score against parameters" + on,
        "Average score against trainable parameters; filled: no other scores as well with fewer.",
        pareto_values(comparison, [](const MethodRow& row) { return static_cast<double>(row.trainable); }));
    add("pareto_seconds", "pareto_seconds", "Score against training time" + on,
        "Average score against seconds of training; filled: no other scores as well in less time.",
        pareto_values(comparison, [](const MethodRow& row) { return row.train_seconds; }));
    add("training_loss", "training_loss", "Training loss" + on, "Training loss by step, one line a run.",
        loss_values(comparison, by_id));
    add("parse_failures", "parse_failures", "Unparsed answers" + on,
        "Share of answers that could not be parsed, by method and task.", parse_values(comparison));
    return out;
}

} // namespace dorabench
