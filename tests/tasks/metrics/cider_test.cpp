#include "tasks/metrics/cider.h"

#include <cmath>
#include <gtest/gtest.h>

using dorabench::cider_d;

TEST(CiderD, MatchesTheHandComputedScore) {
    // two images; every n-gram is in one image's references, so all weights are ln 2 and cancel.
    // candidate "a b c", reference "a b d": words 2 of 3, pairs 1 of 2, triples 0 of 1; no quadruples
    auto scores = cider_d({"a b c", "x y"}, {{"a b d"}, {"x z"}});
    EXPECT_NEAR(scores[0], 10.0 / 4 * (2.0 / 3 + 1.0 / 2), 1e-9);
    EXPECT_NEAR(scores[1], 10.0 / 4 * (1.0 / 2), 1e-9);
}

TEST(CiderD, PunishesAnotherNumberOfPairs) {
    auto scores = cider_d({"a b", "x"}, {{"a b c d"}, {"x"}}); // one pair against three: exp(-4 / 72)
    double words = 2 / std::sqrt(2.0 * 4), pairs = 1 / std::sqrt(1.0 * 3);
    EXPECT_NEAR(scores[0], 10.0 / 4 * (words + pairs) * std::exp(-4.0 / 72), 1e-9);
}

TEST(CiderD, ClipsRepeatedNgrams) {
    auto scores =
        cider_d({"a a a", "x"}, {{"a"}, {"x"}}); // min(3 w, w) w / (3 w w), and two pairs against none
    EXPECT_NEAR(scores[0], 10.0 / 4 * (1.0 / 3) * std::exp(-4.0 / 72), 1e-9);
}

TEST(CiderD, GivesZeroForASingleImageAndForNgramsOfEveryImage) {
    EXPECT_EQ(cider_d({"a b"}, {{"a b"}})[0], 0);
    EXPECT_EQ(cider_d({"a", "a"}, {{"a"}, {"a"}})[0], 0);
}

TEST(CiderD, AveragesOverReferences) {
    double alone = cider_d({"a b", "x"}, {{"a b"}, {"x"}})[0];
    EXPECT_NEAR(alone, 5, 1e-9);
    EXPECT_NEAR(cider_d({"a b", "x"}, {{"a b", "c d"}, {"x"}})[0], alone / 2, 1e-9);
}
