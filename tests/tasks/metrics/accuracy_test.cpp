#include "tasks/metrics/accuracy.h"
#include "tests/support/paths.h"

namespace dorabench {
namespace {

Score sample(bool parsed, double score) {
    Score out;
    out.parsed = parsed;
    out.score = score;
    return out;
}

TEST(AccuracyTest, CountsUnparsedAnswersAsWrongAndShowsThemApart) {
    Accuracy got = accuracy({sample(true, 1), sample(false, 0), sample(true, 0), sample(true, 1)});
    EXPECT_EQ(got.all.value, 0.5);
    EXPECT_EQ(got.all.n, 4);
    EXPECT_NEAR(got.parsed.value, 2.0 / 3, 1e-15);
    EXPECT_EQ(got.parsed.n, 3);
    EXPECT_EQ(got.unparsed, 1);
}

TEST(AccuracyTest, HasNoParsedAccuracyWhenNothingWasParsed) {
    Accuracy got = accuracy({sample(false, 0)});
    EXPECT_TRUE(got.parsed.missing);
    EXPECT_FALSE(got.all.missing);
    EXPECT_TRUE(accuracy({}).all.missing);
}

TEST(AccuracyTest, AveragesFurtherValues) {
    Score one = sample(true, 1), two = sample(true, 0);
    one.values["acc_norm"] = 0;
    two.values["acc_norm"] = 1;
    EXPECT_EQ(mean_of_value({one, two}, "acc_norm").value, 0.5);
    EXPECT_TRUE(mean_of_value({one, two}, "other").missing);
}

} // namespace
} // namespace dorabench
