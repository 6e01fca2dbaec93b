#include "harness/base/error.h"
#include "harness/compare/compare.h"
#include "harness/compare/letters.h"
#include "harness/compare/selection.h"
#include "harness/report/published.h"
#include "tests/harness/compare/synthetic_runs.h"
#include <functional>
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using test::SyntheticRun;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class CompareTest : public ::testing::Test {
protected:
    void write(
        const std::string& id, const std::string& method, int right,
        const std::function<void(SyntheticRun&)>& change = [](SyntheticRun&) {}) {
        SyntheticRun run;
        run.id = id;
        run.method = method;
        run.tasks["boolq"] = {test::right_below(400, right)};
        change(run);
        test::write_run(temp_.path(), run);
    }
    CompareReport compare(const std::string& a, const std::string& b) {
        return compare_sides(read_runs(temp_.path()), a, b);
    }
    test::TempDir temp_;
};

TEST_F(CompareTest, ShowsADifferenceThatTheItemsShow) {
    write("aaaa", "lora", 280);
    write("bbbb", "dora", 320);
    CompareReport report = compare("aa", "bbbb");
    ASSERT_EQ(report.pairs.size(), 1u);
    const PairedTask& task = report.pairs[0].tasks.at(0);
    EXPECT_NEAR(task.difference, 0.1, 1e-12);
    EXPECT_TRUE(task.significant());
    EXPECT_TRUE(report.pareto.empty());
    EXPECT_THAT(compare_as_text(report, "text"), HasSubstr("B is better"));
    EXPECT_THAT(compare_as_text(report, "markdown"), HasSubstr("| boolq |"));
    auto json = compare_as_json(report);
    EXPECT_EQ(json["tasks"]["boolq"]["only_b_right"], 40);
    EXPECT_EQ(json["b"]["trainable"], 1000);
    EXPECT_EQ(json["b"]["peak_memory_bytes"], 1 << 20);
}

TEST_F(CompareTest, SaysWhenTheItemsCannotResolveADifference) {
    write("aaaa", "lora", 300);
    write("bbbb", "dora", 302);
    EXPECT_THAT(compare_as_text(compare("aaaa", "bbbb"), "text"), HasSubstr("not resolvable"));
    EXPECT_EQ(compare_as_json(compare("aaaa", "bbbb"))["tasks"]["boolq"]["verdict"], "not resolvable");
}

TEST_F(CompareTest, PairsSeedsOfMethodsAndMarksTheParetoFront) {
    for (uint64_t seed : {1, 2, 3}) {
        write("a" + std::to_string(seed), "lora", 300, [&](SyntheticRun& run) { run.seed = seed; });
        write("b" + std::to_string(seed), "dora", 330, [&](SyntheticRun& run) {
            run.seed = seed;
            run.trainable = 1100;
        });
        write("c" + std::to_string(seed), "dora", 290, [&](SyntheticRun& run) { // costs more and is worse
            run.seed = seed;
            run.rank = 64;
            run.trainable = 4000;
        });
    }
    CompareReport report = compare("lora", "dora:16");
    ASSERT_EQ(report.pairs.size(), 1u);
    EXPECT_EQ(report.pairs[0].tasks[0].seeds, 3u);
    EXPECT_THAT(report.pairs[0].warnings, Not(Contains(HasSubstr("seeds"))));
    ASSERT_EQ(report.pareto.size(), 2u);
    report = compare("lora", "dora"); // rank 64 has no partner
    EXPECT_EQ(report.pairs.size(), 1u);
    ASSERT_EQ(report.pareto.size(), 3u);
    for (const ParetoPoint& point : report.pareto)
        EXPECT_EQ(point.front_trainable, point.trainable != 4000) << point.label;
    EXPECT_THAT(compare_as_text(report, "text"), HasSubstr("Pareto"));
}

TEST_F(CompareTest, NamesEverythingThatIsNotFair) {
    write("aaaa", "lora", 300, [](SyntheticRun& run) {
        run.train = {{"max_steps", "100"},
                     {"train_on_inputs", "true"},
                     {"batch_size", "16"},
                     {"max_length", "256"},
                     {"template", "alpaca"}};
        run.limit = 5;
    });
    write("bbbb", "dora", 300, [](SyntheticRun& run) {
        run.train = {{"max_steps", "200"},
                     {"train_on_inputs", "false"},
                     {"batch_size", "32"},
                     {"max_length", "512"},
                     {"template", "vicuna"}};
        run.tokenizer = "t2";
        run.tasks["boolq"].fingerprint = "f2";
        run.tasks["boolq"].prompt = "Question {}?";
    });
    write("cccc", "dora", 300, [](SyntheticRun& run) { run.learning_rate = 1e-3; });
    std::vector<std::string> warnings = compare("aaaa", "bbbb").pairs[0].warnings;
    for (const char* expected :
         {"steps differs: 100 against 200", "train_on_inputs", "batch size", "max_length",
          "training template", "limit: A", "tokenizer: the hashes", "fingerprint", "other words",
          "tuned for one side alone", "fewer than three"})
        EXPECT_THAT(warnings, Contains(HasSubstr(expected)));
}

TEST_F(CompareTest, DoesNotWarnOfWhatIsEqual) {
    write("aaaa", "lora", 300);
    write("bbbb", "dora", 300);
    CompareReport report = compare("aaaa", "bbbb");
    for (const std::string& warning : report.pairs[0].warnings)
        EXPECT_TRUE(warning.find("seeds") == 0 || warning.find("learning rate: one was tried") == 0)
            << warning;
}

TEST_F(CompareTest, SaysOfManyRowsWhichHaveWhat) {
    for (const char* id : {"a1", "a2"}) write(id, "lora", 300, [&](SyntheticRun& run) { run.seed = id[1]; });
    write("b1", "dora", 300, [](SyntheticRun& run) { run.train = {{"max_steps", "7"}}; });
    write("c1", "vera", 300, [](SyntheticRun& run) { run.train = {{"max_steps", "7"}}; });
    std::vector<Comparison> comparisons = lettered_comparisons(read_runs(temp_.path()));
    ASSERT_EQ(comparisons.size(), 1u);
    const std::vector<std::string>& warnings = comparisons[0].warnings;
    EXPECT_THAT(warnings,
                Contains("steps differs: none (lora r16) against 7 (dora r16, vera r16) (train.max_steps)"));
    EXPECT_THAT(warnings, Contains(HasSubstr("seeds: 1 a side (lora r16, dora r16, vera r16)")));
    EXPECT_THAT(warnings, Not(Contains(HasSubstr("batch size"))));
    const std::string html = render(comparison_as_table(comparisons[0], {}), "html");
    EXPECT_THAT(html, HasSubstr("<li>steps differs: none (lora r16) against 7"));
    EXPECT_THAT(render(comparison_as_table(comparisons[0], {}), "markdown"),
                HasSubstr("not a fair comparison: steps differs"));
}

// Three rates, of which the last is best on the test set and the second on the held-out examples.
TEST_F(CompareTest, SettlesARateByValidationLossAndWithholdsTheOthersScores) {
    int n = 0;
    for (auto [rate, loss, right] : {std::tuple(1e-4, 0.9, 280), {3e-4, 0.5, 300}, {1e-3, 0.7, 390}})
        for (uint64_t seed : {1, 2})
            write("a" + std::to_string(++n), "lora", right, [&](SyntheticRun& run) {
                run.learning_rate = rate;
                run.seed = seed;
                run.validation_loss = loss;
            });
    write("bbbb", "dora", 310);
    std::vector<RunRecord> store = read_runs(temp_.path());
    select_by_validation(store, "learning_rate");
    CompareReport report = compare_sides(store, "lora", "bbbb");
    ASSERT_EQ(report.pairs.size(), 1u);
    EXPECT_EQ(report.pairs[0].a.front().learning_rate, 3e-4);
    EXPECT_THAT(compare_as_text(report, "text"), HasSubstr("chosen of 3 by validation.loss"));
    for (const RunRecord& run : store)
        EXPECT_EQ(run.tasks.empty(), run.method == "lora" && run.learning_rate != 3e-4) << run.id;
    EXPECT_THROW(compare_sides(store, "a1", "bbbb"), Error);
    store = read_runs(temp_.path());
    EXPECT_THROW(select_by_validation(store, "adapter.nothing"), Error);
}

TEST_F(CompareTest, RefusesToSettleWhatOnlyTheTestSetCouldTell) {
    write("aaaa", "lora", 300);
    write("bbbb", "lora", 310, [](SyntheticRun& run) { run.learning_rate = 1e-3; });
    std::vector<RunRecord> store = read_runs(temp_.path());
    try {
        select_by_validation(store, "train.learning_rate");
        FAIL();
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("train.validation above 0"));
    }
}

TEST_F(CompareTest, RefusesWhatCannotBePaired) {
    write("aaaa", "lora", 300);
    write("bbbb", "dora", 300, [](SyntheticRun& run) { run.status = "failed"; });
    write("cccc", "vera", 300, [](SyntheticRun& run) { run.tasks = {{"piqa", {test::right_below(10, 5)}}}; });
    write("dddd", "ft", 300);
    write("eeee", "ft", 301, [](SyntheticRun& run) { run.learning_rate = 1; });
    EXPECT_THROW(compare("aaaa", "bbbb"), Error);
    EXPECT_THROW(compare("aaaa", "nothing"), Error);
    EXPECT_THROW(compare("aaaa", "cccc"), Error);
    EXPECT_THROW(compare("lora", "ft"), Error); // two of them, told apart by the learning rate
}

// Table 15 of the DoRA paper as run folders: 1,000 items a task, as many right as the printed percentage.
TEST_F(CompareTest, MarksThePublishedCollapsesAsBelowChance) {
    std::vector<PublishedRow> rows = read_published(test::source_dir() + "/results/baselines");
    const std::map<std::string, double> chance = {
        {"boolq", 0.5},      {"piqa", 0.5},      {"siqa", 1 / 3.0},       {"hellaswag", 0.25},
        {"winogrande", 0.5}, {"arc_easy", 0.25}, {"arc_challenge", 0.25}, {"obqa", 0.25}};
    for (const char* method : {"lora", "dora"}) {
        auto found = published(rows, "llama-7b", method, 4);
        ASSERT_FALSE(found.empty());
        write(method, method, 0, [&](SyntheticRun& run) {
            run.id = std::string(method) + "4";
            run.rank = 4;
            run.tasks.clear();
            for (const auto& [task, score] : found.front().scores)
                run.tasks[task] = {test::right_below(1000, static_cast<int>(std::lround(10 * score))),
                                   {},
                                   "Question {} ?",
                                   "f1",
                                   chance.at(task)};
        });
    }
    CompareReport report = compare("lora4", "dora4");
    auto json = compare_as_json(report);
    EXPECT_EQ(json["tasks"]["boolq"]["below_chance"]["a"], true); // LoRA at rank 4: 2.3 %
    EXPECT_EQ(json["tasks"]["boolq"]["below_chance"]["b"], false);
    EXPECT_EQ(json["tasks"]["piqa"]["below_chance"]["b"], true); // DoRA: 42.2 %
    EXPECT_EQ(json["average_above_chance"]["tasks"], 4);         // boolq, piqa, siqa, hellaswag left out
    EXPECT_THAT(compare_as_text(report, "text"), HasSubstr("2.3*"));
    EXPECT_THAT(compare_as_text(report, "text"), HasSubstr("* below chance: A on boolq"));
}

} // namespace
} // namespace dorabench
