#pragma once
// Measures against rank: what the rank sweep of the DoRA paper (table 15, figure 3) is about, in numbers.
#include "harness/report/comparison.h"

namespace dorabench {

struct CurvePoint {
    int64_t rank = 0;
    Estimate average;
    double learning_rate = 0;
    bool collapsed = false;                           // a cell below chance
    Estimate among_parsed, unparsed, seconds, memory; // as in MethodRow
    int64_t trainable = 0;
    std::map<uint64_t, double> averages; // by seed
};

struct RankCurve {
    std::string method, label;
    std::vector<CurvePoint> points; // by rank
    double range = 0;               // largest minus smallest average
    Estimate area; // mean height over log2(rank), trapezoids; interval over the seeds of every rank
    int64_t best_rank = 0;
    int64_t smallest_near_best = 0;   // the smallest rank whose average is at most `near` below the best
    int64_t smallest_in_interval = 0; // the smallest rank whose average is within the interval of the best's
};

struct PublishedCurve { // as printed, percent; of the backbone and target modules of a measured curve, or of
                        // all
    std::string method, backbone;
    std::vector<std::string> tables;
    std::vector<const PublishedRow*> points; // by rank; two where two tables print one
};

// Curves with two ranks or more. near: a fraction.
std::vector<RankCurve> rank_curves(const Comparison& comparison, double near = 0.01);
RankCurve finish_curve(RankCurve curve, double near); // sorts and fills in the summary
// The printed averages by rank, of methods with three ranks or more: of `backbone` where it has any, else of
// all backbones. Borrows the rows.
std::vector<PublishedCurve> published_curves(const std::string& backbone,
                                             const std::vector<PublishedRow>& rows);
Table curves_as_table(const Comparison& comparison, const std::vector<RankCurve>& curves,
                      const std::vector<PublishedCurve>& published);
nlohmann::json curves_as_json(const std::vector<RankCurve>& curves);
nlohmann::json published_curves_as_json(const std::vector<PublishedCurve>& curves);

} // namespace dorabench
