#include "harness/base/error.h"
#include "harness/report/gate.h"
#include "harness/report/paired.h"
#include "tests/support/paths.h"
#include <cmath>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class GateTest : public ::testing::Test {
protected:
    // A run of 400 items of which those below `right` are answered; flips: as many further ones are lost.
    void write(const std::string& id, int right, const std::string& fingerprint = "f1",
               const std::string& more = "") {
        RunFolder folder(temp_.path(), id);
        make_folder(folder.file("samples"));
        std::ofstream samples(folder.file("samples/boolq.jsonl"));
        for (int i = 0; i < 400; ++i)
            samples << json{{"id", std::to_string(i)}, {"score", i < right ? 1 : 0}}.dump() << "\n";
        double value = right / 400.0;
        json task = {
            {"accuracy", {{"value", value}, {"stderr", std::sqrt(value * (1 - value) / 400)}, {"n", 400}}},
            {"n", 400},
            {"fingerprint", fingerprint}};
        folder.write_json("metrics.json", {{"status", "done"},
                                           {"method", "dora"},
                                           {"rank", 8},
                                           {"seed", 1},
                                           {"backbone", "tiny"},
                                           {"tasks", {{"boolq", task}}}});
        std::ofstream(folder.file("config.yaml")) << "evaluate: {num_beams: 4" << more << "}\n";
    }
    std::vector<GateCell> check(bool only_given = false) {
        return check_against(baseline_, read_runs(temp_.path()), only_given);
    }
    test::TempDir temp_;
    json baseline_;
    void SetUp() override {
        write("aa", 300);
        baseline_ = json::parse(make_baseline(read_runs(temp_.path())).dump());
    }
};

TEST_F(GateTest, PassesWhatIsUnchangedOrBetter) {
    EXPECT_EQ(gate_exit_code(check()), 0);
    write("aa", 350);
    EXPECT_EQ(gate_exit_code(check()), 0);
}

TEST_F(GateTest, FindsADropOfFivePercentOfTheItems) {
    write("aa", 280);
    auto cells = check();
    ASSERT_EQ(cells.size(), 1u);
    EXPECT_EQ(cells[0].verdict, "regressed");
    EXPECT_EQ(gate_exit_code(cells), 3);
    EXPECT_LT(cells[0].p, 1e-3);
}

TEST_F(GateTest, LetsALossOfTwoItemsPass) {
    write("aa", 298);
    EXPECT_EQ(gate_exit_code(check()), 0);
}

TEST_F(GateTest, NamesWhatMakesRunsIncomparable) {
    write("aa", 100, "f2", ", max_new_tokens: 5");
    auto cells = check();
    EXPECT_EQ(gate_exit_code(cells), 4);
    EXPECT_THAT(cells[0].differing, ::testing::ElementsAre("fingerprint", "evaluate.max_new_tokens"));
    EXPECT_THAT(gate_junit(cells), HasSubstr("<error type=\"incomparable\""));
}

TEST_F(GateTest, SaysThatARunIsMissing) {
    std::filesystem::remove_all(temp_ / "runs/aa");
    EXPECT_EQ(gate_exit_code(check()), 5);
    EXPECT_TRUE(check(true).empty());
}

TEST_F(GateTest, TakesAnotherRunOfTheSameLabel) {
    std::filesystem::remove_all(temp_ / "runs/aa");
    write("bb", 200);
    EXPECT_EQ(check()[0].run, "bb");
    EXPECT_EQ(gate_exit_code(check()), 3);
}

TEST_F(GateTest, RefusesPartialRunsAndDamagedBaselines) {
    write("aa", 300, "f1", ", limit: 10");
    EXPECT_THROW(make_baseline(read_runs(temp_.path())), Error);
    EXPECT_THROW(make_baseline({}), Error);
    for (const char* bad : {"[]", "{}", R"({"schema_version":1,"runs":[{}]})",
                            R"({"schema_version":1,"runs":[{"label":"x","evaluate":{},"tasks":{"a":3}}]})"}) {
        baseline_ = json::parse(bad);
        EXPECT_THROW(check(), Error) << bad;
    }
}

TEST(CompareScores, UsesMcNemarForBinaryScores) {
    ScoresById a, b;
    for (int i = 0; i < 100; ++i) {
        a[std::to_string(i)] = i < 60 ? 1 : 0;
        b[std::to_string(i)] = i < 50 || i >= 95 ? 1 : 0; // 10 lost, 5 won
    }
    b["more"] = 1;
    PairedTask task = compare_scores("boolq", {a}, {b});
    EXPECT_EQ(task.n, 100);
    EXPECT_EQ(task.only_b, 1);
    EXPECT_EQ(task.mcnemar.b, 10);
    EXPECT_EQ(task.mcnemar.c, 5);
    EXPECT_NEAR(task.p, 0.3017578125, 1e-12);
    EXPECT_NEAR(task.difference, -0.05, 1e-12);
    EXPECT_NEAR(task.discordance, 0.15, 1e-12);
    EXPECT_LT(task.interval.low, task.difference);
    EXPECT_LT(task.effect, 0);
}

TEST(CompareScores, UsesTheBootstrapForSoftScores) {
    ScoresById a, b;
    for (int i = 0; i < 50; ++i) {
        a[std::to_string(i)] = 0.3;
        b[std::to_string(i)] = i % 2 ? 0.6 : 0.9;
    }
    PairedTask task = compare_scores("vqa", {a}, {b});
    EXPECT_FALSE(task.binary);
    EXPECT_LT(task.p, 0.01);
    EXPECT_GT(task.interval.low, 0.3);
    std::vector<PairedTask> tasks = {task, task};
    adjust(tasks);
    EXPECT_NEAR(tasks[0].p_adjusted, 2 * task.p, 1e-9);
}

} // namespace
} // namespace dorabench
