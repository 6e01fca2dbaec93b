#include "harness/compare/paired.h"
#include "tests/harness/compare/synthetic_runs.h"
#include <gmock/gmock.h>

namespace dorabench {
namespace {

SampleSet samples(const std::vector<double>& scores, const std::string& prompt = "p", size_t first = 0) {
    SampleSet out;
    for (size_t i = 0; i < scores.size(); ++i)
        out.items[std::to_string(first + i)] = {scores[i], true, prompt};
    return out;
}

TEST(PairedTask, PairsByIdAndUsesMcNemarForBinaryScores) {
    std::vector<double> a(100), b(101);
    for (size_t i = 0; i < 100; ++i) {
        a[i] = i < 60;
        b[i] = i < 50 || i >= 95; // 10 lost, 5 won
    }
    PairedTask task = compare_task("boolq", {{1, samples(a), samples(b)}});
    EXPECT_EQ(task.n, 100);
    EXPECT_EQ(task.only_a, 0);
    EXPECT_EQ(task.only_b, 1);
    EXPECT_TRUE(task.exact);
    EXPECT_EQ(task.mcnemar.b, 10);
    EXPECT_EQ(task.mcnemar.c, 5);
    EXPECT_NEAR(task.p, 0.3017578125, 1e-12); // 2 P(X <= 5), X ~ B(15, 1/2)
    EXPECT_NEAR(task.difference, -0.05, 1e-12);
    EXPECT_NEAR(task.discordance, 0.15, 1e-12);
    EXPECT_LT(task.interval.low, task.difference);
    EXPECT_GT(task.interval.high, task.difference);
    EXPECT_LT(task.effect, 0);
    EXPECT_TRUE(task.not_resolvable());
}

TEST(PairedTask, ResolvesThePublishedDifferenceForOpenBookQa) { // n = 500, 10 % discordant: 3.96 points
    std::vector<double> a(500), b(500);
    for (size_t i = 0; i < 500; ++i) {
        a[i] = i < 400;
        b[i] = (i >= 25 && i < 425);
    }
    PairedTask task = compare_task("obqa", {{1, samples(a), samples(b)}});
    EXPECT_NEAR(task.discordance, 0.1, 1e-12);
    EXPECT_NEAR(task.resolvable, 0.0396, 5e-5);
}

TEST(PairedTask, UsesTheBootstrapForSoftScores) {
    std::vector<double> a(50, 0.3), b(50);
    for (size_t i = 0; i < 50; ++i) b[i] = i % 2 ? 0.6 : 0.9;
    PairedTask task = compare_task("vqa", {{1, samples(a), samples(b)}});
    EXPECT_FALSE(task.binary);
    EXPECT_FALSE(task.exact);
    EXPECT_LT(task.p, 0.01);
    EXPECT_GT(task.interval.low, 0.3);
}

TEST(PairedTask, CountsAnItemOnceHoweverManySeedsAnsweredIt) {
    std::vector<double> a(40), b(40);
    for (size_t i = 0; i < 40; ++i) {
        a[i] = i < 20;
        b[i] = i < 24;
    }
    SamplePair one{1, samples(a), samples(b)}, other{2, samples(a), samples(b)};
    PairedTask once = compare_task("t", {one}), thrice = compare_task("t", {one, other, other});
    EXPECT_EQ(thrice.n, 120);
    EXPECT_EQ(thrice.items, 40);
    EXPECT_NEAR(thrice.standard_error, once.standard_error,
                1e-12); // three equal answers are no more evidence
    EXPECT_NEAR(thrice.seed_interval.low, 0.1, 1e-12);
    EXPECT_NEAR(thrice.seed_interval.high, 0.1, 1e-12);
}

TEST(PairedTask, KeepsItemsOfTheSameIdApartWhenTheirPromptsDiffer) {
    std::vector<double> scores(10, 1.0);
    SamplePair one{1, samples(scores, "p"), samples(scores, "p")},
        other{2, samples(scores, "q"), samples(scores, "q")};
    EXPECT_EQ(compare_task("t", {one, other}).items, 20);
    EXPECT_EQ(compare_task("t", {{1, samples(scores, "p"), samples(scores, "q")}}).other_prompt, 10);
}

TEST(PairedTask, GivesTheIntervalBetweenSeedsByStudentsT) {
    std::vector<SamplePair> pairs;
    for (uint64_t seed = 0; seed < 3; ++seed)
        pairs.push_back(
            {seed, samples(test::right_below(100, 50)), samples(test::right_below(100, 52 + 2 * seed))});
    PairedTask task =
        compare_task("t", pairs); // differences 0.02, 0.04, 0.06: sd 0.02, t(0.975, 2) = 4.3026527
    EXPECT_NEAR(task.seed_interval.low, 0.04 - 4.302652729911275 * 0.02 / std::sqrt(3.0), 1e-9);
}

TEST(PairedTask, AdjustsByHolmOverAllTasks) {
    std::vector<PairedTask> tasks(3);
    tasks[0].p = 0.01;
    tasks[1].p = 0.04;
    tasks[2].p = 0.03;
    adjust_by_holm({&tasks[0], &tasks[1], &tasks[2]});
    EXPECT_NEAR(tasks[0].p_adjusted, 0.03, 1e-12);
    EXPECT_NEAR(tasks[1].p_adjusted, 0.06, 1e-12);
    EXPECT_NEAR(tasks[2].p_adjusted, 0.06, 1e-12);
}

TEST(PairedTask, RejectsAtTheNominalLevelWhereNothingDiffers) {
    int rejected = 0;
    for (uint64_t replay = 0; replay < 200; ++replay) {
        auto a = test::coin_scores(120, 0.7, replay, "a"), b = test::coin_scores(120, 0.7, replay, "b");
        SamplePair pair{1, samples(a), samples(b)};
        rejected += compare_task("t", {pair}).p < 0.05;
    }
    EXPECT_LE(rejected, 10); // 5 % of 200; the exact test is conservative
}

TEST(Samples, CountsALineWhoseFlagsContradictAsWrongAndLeavesDamagedLinesOut) {
    test::TempDir temp;
    RunFolder folder(temp.path(), "aa");
    make_folder(folder.file("samples"));
    std::ofstream(folder.file("samples/llm_adapters.boolq.jsonl"))
        << R"({"id":"1","prompt":"p","score":1,"correct":false})"
        << "\n"
        << R"({"id":2,"prompt":"p","score":0.5,"parsed":false})"
        << "\n"
        << "{damaged\n"
        << R"({"prompt":"no id","score":1})"
        << "\n";
    auto read = read_samples(folder.path(), "llm_adapters/boolq");
    ASSERT_TRUE(read);
    EXPECT_EQ(read->items.at("1").score, 0);
    EXPECT_EQ(read->items.at("2").score, 0.5);
    EXPECT_EQ(read->unparsed(), 1);
    EXPECT_EQ(read->damaged, 2);
    EXPECT_EQ(read->lengths_hash, "");
    EXPECT_FALSE(read_samples(folder.path(), "piqa"));
}

} // namespace
} // namespace dorabench
