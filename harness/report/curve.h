#pragma once
// Score against rank: what the rank sweep of the DoRA paper (table 15, figure 3) is about, in numbers.
#include "harness/report/comparison.h"

namespace dorabench {

struct CurvePoint {
    int64_t rank = 0;
    Estimate average;
    double learning_rate = 0;
    bool collapsed = false; // a cell below chance
};

struct RankCurve {
    std::string method, label;
    std::vector<CurvePoint> points; // by rank
    double range = 0;               // largest minus smallest average
    double area = 0;                // mean height over log2(rank), trapezoids
    int64_t best_rank = 0;
    int64_t smallest_near_best = 0; // the smallest rank whose average is at most `near` below the best
};

// Curves with two ranks or more. near: a fraction.
std::vector<RankCurve> rank_curves(const Comparison& comparison, double near = 0.01);
RankCurve finish_curve(RankCurve curve, double near); // sorts and fills in the summary
Table curves_as_table(const Comparison& comparison, const std::vector<RankCurve>& curves);
nlohmann::json curves_as_json(const std::vector<RankCurve>& curves);

} // namespace dorabench
