#include "harness/compare/letters.h"
#include "tests/harness/compare/synthetic_runs.h"
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(LetterDisplay, SharesALetterExactlyWhereNoDifferenceIsShown) {
    // 0 and 2 differ, 1 differs from neither
    EXPECT_THAT(letter_display({0.9, 0.8, 0.7}, {{0, 2}}), ElementsAre("a", "ab", "b"));
    EXPECT_THAT(letter_display({0.7, 0.8, 0.9}, {{2, 0}}), ElementsAre("b", "ab", "a"));
    EXPECT_THAT(letter_display({0.9, 0.8}, {}), ElementsAre("a", "a"));
    EXPECT_THAT(letter_display({0.9, 0.8, 0.7}, {{0, 1}, {0, 2}, {1, 2}}), ElementsAre("a", "b", "c"));
}

TEST(LetterDisplay, HoldsItsDefinitionOnRandomPairs) {
    for (uint64_t seed = 0; seed < 40; ++seed) {
        Rng rng(seed, "letters");
        std::vector<double> means;
        for (int i = 0; i < 9; ++i) means.push_back(rng.uniform());
        std::vector<std::pair<size_t, size_t>> differ;
        std::set<std::pair<size_t, size_t>> differing;
        for (size_t i = 0; i < means.size(); ++i)
            for (size_t j = i + 1; j < means.size(); ++j)
                if (std::abs(means[i] - means[j]) + 0.2 * rng.uniform() > 0.5) differ.push_back({i, j});
        differing.insert(differ.begin(), differ.end());
        std::vector<std::string> letters = letter_display(means, differ);
        for (size_t i = 0; i < means.size(); ++i)
            for (size_t j = i + 1; j < means.size(); ++j) {
                bool share = letters[i].find_first_of(letters[j]) != std::string::npos;
                EXPECT_EQ(share, differing.count({i, j}) == 0) << seed << " " << i << " " << j;
            }
    }
}

class LettersTest : public testing::Test {
protected:
    void add(const std::string& id, const std::string& method, std::vector<double> scores,
             uint64_t seed = 1) {
        test::SyntheticRun run;
        run.id = id;
        run.method = method;
        run.seed = seed;
        run.tasks["boolq"].scores = std::move(scores);
        test::write_run(dir_.path(), run);
    }
    Comparison compared() { return lettered_comparisons(read_runs(dir_.path())).at(0); }
    test::TempDir dir_;
};

TEST_F(LettersTest, TellsARealDifferenceFromNone) {
    add("1", "lora", test::right_below(200, 150));
    add("2", "dora", test::right_below(200, 148));
    add("3", "vera", test::right_below(200, 60));
    Comparison comparison = compared();
    std::map<std::string, std::string> letters;
    for (const MethodRow& row : comparison.rows)
        letters[row.method] = row.letters.at("boolq") + "/" + row.letters.at(kAverageLetters);
    EXPECT_EQ(letters["lora"], "a/a");
    EXPECT_EQ(letters["dora"], "a/a");
    EXPECT_EQ(letters["vera"], "b/b");
    EXPECT_THAT(comparison_text({comparison}, "markdown"), HasSubstr("letters"));
    EXPECT_THAT(comparison_text({comparison}, "csv"), HasSubstr(",b,10.0,1048576\r\n"));
}

TEST_F(LettersTest, LeavesASingleRowWithoutLetters) {
    add("1", "lora", test::right_below(20, 10));
    EXPECT_TRUE(compared().rows[0].letters.empty());
    EXPECT_THAT(comparison_text({compared()}, "text"), testing::Not(HasSubstr("letters")));
}

// Four methods of equal skill on 200 tasks: the share of tasks on which any pair is told apart must not pass
// the nominal 5 % by more than chance (three standard deviations of a binomial: 4.6 points).
TEST_F(LettersTest, TellsEqualMethodsApartAtMostAtTheNominalLevel) {
    constexpr int tasks = 200;
    for (int method = 0; method < 4; ++method) {
        test::SyntheticRun run;
        run.id = std::to_string(method);
        run.method = "m" + run.id;
        for (int task = 0; task < tasks; ++task)
            run.tasks["t" + std::to_string(task)].scores =
                test::coin_scores(80, 0.7, static_cast<uint64_t>(task), "null" + run.id);
        test::write_run(dir_.path(), run);
    }
    Comparison comparison = compared();
    int alarms = 0;
    for (const std::string& task : comparison.tasks) {
        std::set<std::string> seen;
        for (const MethodRow& row : comparison.rows) seen.insert(row.letters.at(task));
        alarms += seen.size() > 1;
    }
    EXPECT_LE(alarms, tasks * (0.05 + 0.046));
    std::set<std::string> averages;
    for (const MethodRow& row : comparison.rows) averages.insert(row.letters.at(kAverageLetters));
    EXPECT_EQ(averages.size(), 1u);
}

} // namespace
} // namespace dorabench
