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
    EXPECT_THAT(comparison_text({comparison}, "csv"), HasSubstr(",b\r\n"));
}

TEST_F(LettersTest, LeavesASingleRowWithoutLetters) {
    add("1", "lora", test::right_below(20, 10));
    EXPECT_TRUE(compared().rows[0].letters.empty());
    EXPECT_THAT(comparison_text({compared()}, "text"), testing::Not(HasSubstr("letters")));
}

// Six methods of equal skill, many stores: the share in which any pair is told apart must not pass the
// nominal 5 % by more than chance. Three standard deviations of a binomial of 120 trials at 5 % are 6 points.
TEST(LettersNull, ToldApartAtMostAtTheNominalLevel) {
    int alarms = 0;
    constexpr int trials = 120;
    for (int trial = 0; trial < trials; ++trial) {
        test::TempDir dir;
        for (int method = 0; method < 4; ++method) {
            test::SyntheticRun run;
            run.id = std::to_string(method);
            run.method = "m" + std::to_string(method);
            run.tasks["boolq"].scores =
                test::coin_scores(80, 0.7, static_cast<uint64_t>(trial), "null" + run.id);
            test::write_run(dir.path(), run);
        }
        std::set<std::string> seen;
        for (const MethodRow& row : lettered_comparisons(read_runs(dir.path())).at(0).rows)
            seen.insert(row.letters.at("boolq"));
        alarms += seen.size() > 1;
    }
    EXPECT_LE(alarms, trials * (0.05 + 0.06));
}

} // namespace
} // namespace dorabench
