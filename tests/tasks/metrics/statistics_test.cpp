#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tasks/metrics/statistics.h"
#include "tests/support/paths.h"
#include <cmath>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

nlohmann::json shared_json(const std::string& name) {
    return nlohmann::json::parse(read_file(test::shared_dir() + "/data/stats/" + name));
}

TEST(WilsonInterval, EqualsThePublishedTable) {
    DORABENCH_NEEDS_SHARED();
    auto rows = shared_json("wilson.json");
    ASSERT_EQ(rows.size(), 36u);
    for (const auto& row : rows) {
        Interval got = wilson_interval(row["k"], row["n"], row["confidence"]);
        EXPECT_NEAR(got.low, row["lower"].get<double>(), 1e-12) << row;
        EXPECT_NEAR(got.high, row["upper"].get<double>(), 1e-12) << row;
    }
}

TEST(WilsonInterval, StaysInsideTheUnitInterval) {
    EXPECT_EQ(wilson_interval(0, 7).low, 0);
    EXPECT_EQ(wilson_interval(7, 7).high, 1);
    EXPECT_EQ(wilson_interval(0, 0).high, 1);
    EXPECT_THROW(wilson_interval(8, 7), Error);
}

TEST(McNemarTest, EqualsThePublishedTable) {
    DORABENCH_NEEDS_SHARED();
    auto rows = shared_json("mcnemar.json");
    ASSERT_EQ(rows.size(), 15u);
    for (const auto& row : rows) {
        McNemar got = mcnemar_counts(row["b"], row["c"]);
        double exact = row["exact_two_sided_p"], mid = row["mid_p"];
        EXPECT_NEAR(got.p_exact, exact, 1e-10 * exact) << row;
        EXPECT_NEAR(got.p_mid, mid, 1e-9 * mid) << row;
    }
}

TEST(McNemarTest, CountsOnlyDiscordantItems) {
    McNemar got = mcnemar({1, 1, 0, 0, 1}, {1, 0, 1, 0, 0});
    EXPECT_EQ(got.b, 2);
    EXPECT_EQ(got.c, 1);
    EXPECT_EQ(got.p_exact, 1);
    EXPECT_NEAR(got.p_mid, 1 - 0.375, 1e-15);
}

TEST(McNemarTest, RefusesScoresThatAreNotZeroOrOne) {
    EXPECT_THROW(mcnemar({0.5}, {1}), Error);
    EXPECT_THROW(mcnemar({1, 0}, {1}), Error);
}

TEST(McNemarTest, HoldsForMillionsOfItems) {
    // far from the centre the tail is dominated by its first term: compare with the normal tail
    McNemar got = mcnemar_counts(501000, 499000);
    double z = (2000 - 1) / std::sqrt(1e6); // continuity-corrected
    EXPECT_NEAR(got.p_exact, std::erfc(z / std::sqrt(2)), 1e-6);
}

TEST(PairedBootstrapTest, LandsWithinTheToleranceOfThePublishedIntervals) {
    DORABENCH_NEEDS_SHARED();
    auto rows = shared_json("paired_bootstrap.json");
    ASSERT_EQ(rows.size(), 3u);
    for (const auto& row : rows) {
        auto a = row["a"].get<std::vector<double>>(), b = row["b"].get<std::vector<double>>();
        PairedBootstrap got = paired_bootstrap(a, b, 20000);
        double tolerance = row["ci_tolerance"];
        EXPECT_NEAR(got.difference, row["mean_diff"].get<double>(), 1e-12);
        EXPECT_NEAR(got.interval.low, row["percentile_95"][0].get<double>(), tolerance);
        EXPECT_NEAR(got.interval.high, row["percentile_95"][1].get<double>(), tolerance);
        EXPECT_NEAR(got.p, 2 * row["p_one_sided_le0"].get<double>(), 0.006);
        McNemar discordant = mcnemar(a, b);
        EXPECT_EQ(discordant.b, row["mcnemar"]["b"].get<int64_t>());
        EXPECT_EQ(discordant.c, row["mcnemar"]["c"].get<int64_t>());
        EXPECT_NEAR(discordant.p_mid, row["mcnemar"]["mid_p"].get<double>(), 1e-12);
    }
}

TEST(PairedBootstrapTest, RepeatsItselfForASeedAndDiffersForAnother) {
    std::vector<double> a, b;
    for (int i = 0; i < 60; ++i) a.push_back(i % 3), b.push_back(i % 5 * 0.4);
    PairedBootstrap first = paired_bootstrap(a, b, 500, 7), again = paired_bootstrap(a, b, 500, 7);
    EXPECT_EQ(first.interval.low, again.interval.low);
    EXPECT_NE(first.interval.low, paired_bootstrap(a, b, 500, 8).interval.low);
}

TEST(PairedBootstrapTest, FindsNoDifferenceBetweenEqualScores) {
    PairedBootstrap got = paired_bootstrap({1, 0, 1}, {1, 0, 1}, 100);
    EXPECT_EQ(got.difference, 0);
    EXPECT_EQ(got.interval.low, 0);
    EXPECT_EQ(got.p, 1);
    EXPECT_THROW(paired_bootstrap({1}, {1, 0}), Error);
}

TEST(Holm, AdjustsInTheGivenOrder) {
    auto got = holm({0.01, 0.04, 0.03, 0.005});
    std::vector<double> expected{0.03, 0.06, 0.06, 0.02};
    ASSERT_EQ(got.size(), 4u);
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(got[i], expected[i], 1e-15);
    EXPECT_EQ(holm({0.9, 0.8})[0], 1);
    EXPECT_TRUE(holm({}).empty());
}

TEST(NormalQuantile, IsExactToNineDigits) {
    struct {
        double p, x;
    } rows[] = {
        {0.975, 1.959963984540054},   {0.8, 0.8416212335729143},  {0.5, 0},
        {0.995, 2.5758293035489004},  {0.6, 0.2533471031357997},  {1e-10, -6.361340902404056},
        {0.0001, -3.719016485455709}, {0.999, 3.090232306167813}, {1e-100, -21.273453560843},
    };
    for (auto row : rows) EXPECT_NEAR(normal_quantile(row.p), row.x, 1e-9) << row.p;
    EXPECT_TRUE(std::isinf(normal_quantile(1)));
    EXPECT_THROW(normal_quantile(1.5), Error);
}

TEST(NormalQuantile, InvertsTheDistribution) {
    for (double p = 0.0005; p < 1; p += 0.01)
        EXPECT_NEAR(0.5 * std::erfc(-normal_quantile(p) / std::sqrt(2)), p, 1e-14);
}

TEST(StudentTQuantile, EqualsClosedFormsAndTables) {
    for (double p : {0.6, 0.9, 0.975, 0.9995, 0.01}) {
        EXPECT_NEAR(student_t_quantile(p, 1), std::tan(M_PI * (p - 0.5)),
                    1e-9 * std::fabs(std::tan(M_PI * (p - 0.5))));
        EXPECT_NEAR(student_t_quantile(p, 2), (2 * p - 1) / std::sqrt(2 * p * (1 - p)), 1e-9);
        double root = 2 * std::sqrt(p * (1 - p)), x = std::cos(std::acos(root) / 3) / root; // 4 degrees
        EXPECT_NEAR(student_t_quantile(p, 4), std::copysign(2 * std::sqrt(std::max(0.0, x - 1)), p - 0.5),
                    1e-9);
    }
    EXPECT_NEAR(student_t_quantile(0.975, 10), 2.2281388519649385, 1e-9);
    EXPECT_NEAR(student_t_quantile(0.975, 30), 2.042272456301238, 1e-9);
    EXPECT_NEAR(student_t_quantile(0.95, 5), 2.015048372669157, 1e-9);
}

TEST(StudentTQuantile, TendsToTheNormalQuantile) {
    // Cornish-Fisher: t = z + (z^3 + z) / (4 n) + …
    double z = normal_quantile(0.975), n = 1e7;
    EXPECT_NEAR(student_t_quantile(0.975, n), z + (z * z * z + z) / (4 * n), 1e-9);
    EXPECT_NEAR(student_t_quantile(0.975, 1e12), z, 1e-9);
}

TEST(MinimumDetectableDifference, PrintsThePublishedTable) {
    struct {
        int64_t n;
        double discordance, points;
    } rows[] = {{500, .1, 3.96},  {500, .05, 2.80}, {500, .2, 5.60},
                {3270, .1, 1.55}, {1267, .2, 3.52}, {10042, .05, 0.63}};
    for (auto row : rows)
        EXPECT_EQ(std::round(1e4 * minimum_detectable_difference(row.n, row.discordance)),
                  std::round(100 * row.points));
    EXPECT_EQ(minimum_detectable_difference(0, .1), 1);
}

TEST(MeanMeasurement, GivesWilsonsIntervalForZerosAndOnes) {
    Measurement got = mean_measurement({1, 1, 0, 1});
    EXPECT_EQ(got.value, 0.75);
    EXPECT_NEAR(got.stderr_, std::sqrt(0.75 * 0.25 / 4), 1e-15);
    EXPECT_EQ(got.ci_low, wilson_interval(3, 4).low);
    EXPECT_EQ(got.n, 4);
}

TEST(MeanMeasurement, GivesANormalIntervalForOtherScores) {
    Measurement got = mean_measurement({0.2, 0.4, 0.9});
    EXPECT_NEAR(got.value, 0.5, 1e-15);
    EXPECT_NEAR(got.stderr_, std::sqrt(0.13 / 3), 1e-12);
    EXPECT_NEAR(got.ci_high, 0.5 + 1.959963984540054 * std::sqrt(0.13 / 3), 1e-12);
    EXPECT_TRUE(mean_measurement({}).missing);
}

} // namespace
} // namespace dorabench
