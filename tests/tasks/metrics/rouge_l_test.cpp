#include "tasks/metrics/rouge_l.h"

#include <gtest/gtest.h>

using dorabench::rouge_l;

TEST(RougeL, MatchesTheHandComputedScore) {
    // longest common subsequence 2; precision 2 / 3, recall 2 / 4
    double p = 2.0 / 3, r = 0.5, b = 1.44;
    EXPECT_NEAR(rouge_l("a x b", {"a b c d"}), (1 + b) * p * r / (r + b * p), 1e-12);
}

TEST(RougeL, TakesPrecisionAndRecallFromDifferentReferences) {
    EXPECT_NEAR(rouge_l("this is a good test", {"this is a test", "this is also a test"}), 0.9070631, 1e-7);
    EXPECT_EQ(rouge_l("a b", {"a b x y", "a"}), 1);
}

TEST(RougeL, GivesZeroWithoutACommonWord) {
    EXPECT_EQ(rouge_l("", {"a b"}), 0);
    EXPECT_EQ(rouge_l("x", {"a b"}), 0);
    EXPECT_EQ(rouge_l("", {""}), 1); // one empty token each, as in the original
}
