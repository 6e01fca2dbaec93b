#include "harness/base/error.h"
#include "harness/report/comparison.h"
#include "harness/report/curve.h"
#include "tests/support/paths.h"
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TaskResult result_of(double accuracy, int64_t n = 1000, double chance = 0.5, int64_t unparsed = 0) {
    TaskResult result;
    double se = std::sqrt(accuracy * (1 - accuracy) / static_cast<double>(n));
    result.metrics["accuracy"] = {accuracy, se, accuracy - 2 * se, accuracy + 2 * se, n, false};
    result.primary = "accuracy";
    result.n = n;
    result.unparsed = unparsed;
    result.chance = chance;
    result.has_chance = true;
    return result;
}

RunRecord record(const std::string& method, int64_t rank, uint64_t seed, double accuracy) {
    static int serial = 0;
    RunRecord run;
    run.id = "run" + std::to_string(++serial);
    run.status = "done";
    run.backbone = "Llama-2-7b-hf";
    run.method = method;
    run.rank = rank;
    run.seed = seed;
    run.group = method + std::to_string(rank);
    run.trainable = 28925952;
    run.total = 6767341568;
    run.train_seconds = 10;
    run.peak_memory_bytes = int64_t(1) << 30;
    run.learning_rate = 2e-4;
    run.tasks["boolq"] = result_of(accuracy);
    run.tasks["arc_easy"] = result_of(accuracy, 2000, 0.25, 20);
    return run;
}

TEST(OverSeeds, GivesStudentsInterval) {
    Estimate estimate = over_seeds({0.70, 0.72, 0.74});
    EXPECT_NEAR(estimate.value, 0.72, 1e-12);
    EXPECT_NEAR(estimate.half_width(), 4.302652729911275 * 0.02 / std::sqrt(3.0), 1e-9);
    EXPECT_TRUE(estimate.over_seeds);
    EXPECT_FALSE(over_seeds({}).present);
    EXPECT_EQ(over_seeds({0.5}).half_width(), 0);
}

TEST(Comparison, GroupsSeedsAndOrdersMethodsAndRanks) {
    auto comparisons = make_comparisons({record("dora", 16, 1, 0.8), record("lora", 32, 1, 0.7),
                                         record("lora", 16, 1, 0.7), record("lora", 16, 2, 0.72)});
    ASSERT_EQ(comparisons.size(), 1u);
    const Comparison& comparison = comparisons[0];
    ASSERT_EQ(comparison.rows.size(), 3u);
    EXPECT_EQ(comparison.rows[0].rank, 16);
    EXPECT_EQ(comparison.rows[0].seeds.size(), 2u);
    EXPECT_TRUE(comparison.rows[0].average.over_seeds);
    EXPECT_FALSE(comparison.rows[1].average.over_seeds);
    EXPECT_EQ(comparison.rows[2].method, "dora");
    EXPECT_EQ(comparison.tasks, (std::vector<std::string>{"boolq", "arc_easy"}));
    EXPECT_EQ(comparison.rows[0].tasks.at("arc_easy").unparsed, 40);
}

TEST(Comparison, TellsRunsOfOtherSettingsApart) {
    RunRecord a = record("dora", 16, 1, 0.8), b = record("dora", 16, 1, 0.6);
    a.settings = {{"adapter.dropout", "0.05"}, {"seed", "1"}, {"train.learning_rate", "0.0002"}};
    b.settings = {{"adapter.dropout", "0"}, {"seed", "2"}, {"train.learning_rate", "0.0002"}};
    a.group = "one";
    b.group = "two";
    auto comparison = make_comparisons({a, b})[0];
    ASSERT_EQ(comparison.rows.size(), 2u);
    EXPECT_EQ(comparison.rows[0].label, "dropout=0");
    EXPECT_EQ(comparison.rows[1].label, "dropout=0.05");
}

TEST(Comparison, MarksCellsBelowChanceAndAveragesWithoutThem) {
    RunRecord run = record("lora", 4, 1, 0.8);
    run.tasks["boolq"] = result_of(0.023, 3270);
    auto comparison = make_comparisons({run})[0];
    EXPECT_TRUE(comparison.rows[0].tasks.at("boolq").below_chance());
    EXPECT_NEAR(comparison.rows[0].average_above_chance.value, 0.8, 1e-12);
    std::string text = render(comparison_as_table(comparison, {}), "text", {});
    EXPECT_THAT(text, HasSubstr("!2.3"));
    EXPECT_THAT(text, HasSubstr("!: below chance"));
    EXPECT_THAT(text, HasSubstr("average without the cells below chance 80.0"));
    EXPECT_THAT(text, HasSubstr("chance"));
}

TEST(Comparison, ShowsUnparsedAnswersMemoryAndSeconds) {
    std::string text =
        render(comparison_as_table(make_comparisons({record("dora", 16, 1, 0.8)})[0], {}), "text", {});
    EXPECT_THAT(text, HasSubstr("unparsed %"));
    EXPECT_THAT(text, HasSubstr("0.7"));  // 20 of 3000
    EXPECT_THAT(text, HasSubstr("0.43")); // trainable %
    EXPECT_THAT(text, HasSubstr("10.0"));
}

TEST(Comparison, SaysWhatDifferenceItCouldResolve) {
    RunRecord a = record("lora", 16, 1, 0.8), b = record("dora", 16, 1, 0.7);
    a.tasks = b.tasks = {{"obqa", result_of(0.8, 500, 0.25)}};
    std::string text = render(comparison_as_table(make_comparisons({a, b})[0], {}), "text", {});
    EXPECT_THAT(text, HasSubstr("resolvable difference"));
    EXPECT_THAT(text, HasSubstr("4.0")); // 3.96 points: 500 items, 10 % discordant
}

TEST(Comparison, ListsFailedRunsWithTheirReason) {
    RunRecord run = record("vera", 8, 1, 0);
    run.status = "failed";
    run.error = "loss is not finite at step 7\nmore";
    auto comparison = make_comparisons({run, record("dora", 8, 1, 0.8)})[0];
    EXPECT_EQ(comparison.rows.size(), 1u);
    std::string text = render(unfinished_as_table(comparison), "text", {});
    EXPECT_THAT(text, HasSubstr("loss is not finite at step 7"));
    EXPECT_THAT(text, Not(HasSubstr("more")));
}

TEST(Comparison, StampsLimitedRunsAsPartial) {
    RunRecord run = record("dora", 16, 1, 0.8);
    run.partial = true;
    EXPECT_THAT(render(comparison_as_table(make_comparisons({run})[0], {}), "text", {}),
                HasSubstr("dora (partial)"));
}

TEST(Comparison, ShowsPublishedRowsLabelledAndOnlyBesideMatchingOnes) {
    auto published = read_published(test::source_dir() + "/results/baselines");
    RunRecord run = record("dora", 16, 1, 0.8);
    run.settings["adapter.target_modules"] = "[v_proj, q_proj, k_proj, up_proj, down_proj]";
    auto comparison = make_comparisons({run, record("dora", 8, 1, 0.8)})[0];
    std::string text = render(comparison_as_table(comparison, published), "text", {});
    EXPECT_THAT(text, HasSubstr("dora (published)"));
    EXPECT_THAT(text, HasSubstr("72.0"));      // LLaMA2-7B DoRA r16 on BoolQ
    EXPECT_THAT(text, Not(HasSubstr("69.9"))); // LLaMA-7B DoRA r8: another backbone
    run.settings["adapter.target_modules"] = "[q_proj]";
    EXPECT_THAT(render(comparison_as_table(make_comparisons({run})[0], published), "text", {}),
                Not(HasSubstr("published")));
    auto json = comparison_as_json(comparison, published);
    EXPECT_EQ(json["rows"][1]["source"], "measured");
    EXPECT_EQ(json["rows"][2]["source"], "published");
}

// The rank table that the DoRA paper printed, read as if it were ours: LoRA's collapses are parsing, not
// knowledge.
TEST(Comparison, MarksThePublishedRankTablesCollapses) {
    std::vector<RunRecord> runs;
    std::vector<PublishedRow> published = read_published(test::source_dir() + "/results/baselines");
    for (const PublishedRow& row : published) {
        if (row.table != "Table 15" || !row.rank) continue;
        RunRecord run = record(row.method, *row.rank, 1, 0);
        run.backbone = "llama-7b";
        run.tasks.clear();
        for (const auto& [task, score] : row.scores) {
            TaskResult& result = run.tasks[task];
            double chance = task == "boolq" || task == "piqa" || task == "winogrande" ? 0.5
                            : task == "siqa"                                          ? 1.0 / 3
                                                                                      : 0.25;
            result.primary = "accuracy";
            result.metrics["accuracy"] = {};
            result.metrics["accuracy"].value = score / 100;
            result.metrics["accuracy"].missing = false;
            result.n = 1000;
            result.chance = chance;
            result.has_chance = true;
        }
        run.group = run.id = row.method + std::to_string(*row.rank);
        runs.push_back(run);
    }
    ASSERT_EQ(runs.size(), 7u);
    Comparison comparison = make_comparisons(runs).at(0);
    std::string text = render(comparison_as_table(comparison, published), "csv");
    EXPECT_THAT(text, HasSubstr("!2.3"));  // boolq, LoRA at rank 4
    EXPECT_THAT(text, HasSubstr("!11.8")); // hellaswag, rank 8
    EXPECT_THAT(text, HasSubstr("!17.6")); // hellaswag, rank 64
    EXPECT_THAT(text, testing::Not(HasSubstr("!85.2")));
    std::string notes = render(comparison_as_table(comparison, published), "text", {});
    EXPECT_THAT(notes, HasSubstr("below chance"));
    EXPECT_THAT(notes, HasSubstr("lora r64: average without the cells below chance"));
    for (const RankCurve& curve : rank_curves(comparison))
        for (const CurvePoint& point : curve.points)
            if (curve.method == "lora") EXPECT_EQ(point.collapsed, point.rank != 16) << point.rank;
}

TEST(Comparison, JsonHasNullForWhatIsMissing) {
    RunRecord run = record("ft", 0, 1, 0.8);
    run.peak_memory_bytes = 0;
    run.tasks["boolq"].metrics["accuracy"].missing = true;
    auto json = comparison_as_json(make_comparisons({run})[0], {});
    EXPECT_TRUE(json["rows"][0]["rank"].is_null());
    EXPECT_TRUE(json["rows"][0]["peak_memory_bytes"].is_null());
    EXPECT_TRUE(json["rows"][0]["tasks"]["boolq"].is_null());
    EXPECT_DOUBLE_EQ(json["rows"][0]["tasks"]["arc_easy"]["value"], 0.8);
}

TEST(ComparisonTable, PrintsEveryFormat) {
    std::vector<RunRecord> runs = {record("lora", 4, 1, 0.6), record("lora", 8, 1, 0.7),
                                   record("dora", 4, 1, 0.8)};
    EXPECT_THAT(comparison_text(make_comparisons(runs), "text"), HasSubstr("average by rank"));
    EXPECT_THAT(comparison_text(make_comparisons(runs), "markdown"), HasSubstr("| method | rank |"));
    EXPECT_THAT(comparison_text(make_comparisons(runs), "latex"), HasSubstr("\\toprule"));
    EXPECT_THAT(comparison_text(make_comparisons(runs), "csv"),
                HasSubstr("measured,lora,,4,1,28925952,6767341568,boolq,0.6,"));
    auto json = nlohmann::json::parse(comparison_text(make_comparisons(runs), "json"));
    EXPECT_EQ(json["backbones"][0]["rank_curves"].size(), 1u);
    EXPECT_THAT(comparison_text({}, "text"), HasSubstr("no runs"));
    EXPECT_THROW(comparison_text(make_comparisons(runs), "xml"), Error);
}

TEST(RankCurve, ReproducesAKnownRangeAndArea) {
    RankCurve curve{"dora", "", {}};
    const std::pair<int64_t, double> points[] = {{16, 0.8}, {4, 0.4}, {8, 0.795}};
    for (auto [rank, value] : points)
        curve.points.push_back({rank, {value, value, value, true, false}, 2e-4, false});
    curve = finish_curve(curve, 0.01);
    EXPECT_NEAR(curve.range, 0.4, 1e-12);
    EXPECT_NEAR(curve.area.value, ((0.4 + 0.795) / 2 + (0.795 + 0.8) / 2) / 2, 1e-12);
    EXPECT_EQ(curve.best_rank, 16);
    EXPECT_EQ(curve.smallest_near_best, 8);
}

TEST(RankCurve, StatesTheLearningRatePolicy) {
    RunRecord a = record("dora", 16, 1, 0.8), b = record("dora", 32, 1, 0.82);
    b.learning_rate = 1e-4;
    auto comparison = make_comparisons({a, b})[0];
    std::string text = render(curves_as_table(comparison, rank_curves(comparison), {}), "text", {});
    EXPECT_THAT(text, HasSubstr("learning rate by rank: r16 0.0002, r32 0.0001"));
}

} // namespace
} // namespace dorabench
