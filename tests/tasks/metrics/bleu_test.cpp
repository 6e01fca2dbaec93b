#include "tasks/metrics/bleu.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace dorabench;

TEST(Bleu, MatchesTheHandComputedScores) { // 4 of 5 words, 2 of 4 pairs, 1 of 3 triples, no quadruple
    auto values = bleu(bleu_statistics("this is a good test", {"this is a test", "this is also a test"}));
    EXPECT_NEAR(values[0], 4.0 / 5, 1e-6);
    EXPECT_NEAR(values[1], std::sqrt(4.0 / 5 * 2 / 4), 1e-6);
    EXPECT_NEAR(values[2], std::cbrt(4.0 / 5 * 2 / 4 * 1 / 3), 1e-6);
    EXPECT_NEAR(values[3], 9.03602e-05, 1e-9); // published with nlg-eval: the guard against zero counts
}

TEST(Bleu, TakesTheCloserReferenceAndTheShorterOfTwoEquallyClose) {
    EXPECT_EQ(bleu_statistics("a b c", {"a", "a b c d", "a b"}).reference_length, 2);
    EXPECT_EQ(bleu_statistics("a b c", {"a b c d e f", "a b c d"}).reference_length, 4);
}

TEST(Bleu, ClipsRepeatedWords) {
    auto statistics = bleu_statistics("the the the", {"the cat the", "the dog"});
    EXPECT_EQ(statistics.correct[0], 2);
    EXPECT_EQ(statistics.guessed[0], 3);
    EXPECT_EQ(statistics.guessed[3], 0);
}

TEST(Bleu, PunishesShortCorporaOnce) {
    BleuStatistics sum = bleu_statistics("a b", {"a b c d"});
    EXPECT_NEAR(bleu(sum)[0], std::exp(1 - 2.0), 1e-6);
    sum.add(bleu_statistics("a b c d e f", {"a b c d"})); // together as long as the references
    EXPECT_NEAR(bleu(sum)[0], 6.0 / 8, 1e-6);
}

TEST(Bleu, GivesZeroForAnEmptyCandidate) {
    EXPECT_NEAR(bleu(bleu_statistics("", {"a b"}))[0], 0, 1e-6);
    EXPECT_EQ(bleu_statistics("a", {}).reference_length, 0);
}
