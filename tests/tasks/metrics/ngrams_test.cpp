#include "tasks/metrics/ngrams.h"

#include <gtest/gtest.h>
#include <set>

using namespace dorabench;

TEST(Ngrams, AreCountedUpToOrderFour) {
    NgramNumbers numbers;
    const NgramCounts counts = numbers.count(" a b\ta b ");
    ASSERT_EQ(counts[0].size(), 2u); // a, b
    EXPECT_EQ(counts[0][0].count, 2);
    EXPECT_EQ(counts[0][1].count, 2);
    ASSERT_EQ(counts[1].size(), 2u); // a b twice, b a
    EXPECT_EQ(counts[1][0].count + counts[1][1].count, 3);
    EXPECT_EQ(counts[2].size(), 2u);
    EXPECT_EQ(counts[3].size(), 1u);
    EXPECT_EQ(numbers.size(), 7u);
}

TEST(Ngrams, OfAnEmptyTextAreNone) {
    NgramNumbers numbers;
    for (const auto& order : numbers.count(" \n")) EXPECT_TRUE(order.empty());
    EXPECT_EQ(numbers.size(), 0u);
}

TEST(Ngrams, KeepTheirNumbersOverABaseThatStaysAsItIs) {
    NgramNumbers base;
    const NgramCounts known = base.count("a b c");
    const uint32_t size = base.size();
    NgramNumbers more(&base);
    const NgramCounts counts = more.count("x a b");
    EXPECT_EQ(base.size(), size);
    EXPECT_EQ(counts[1][0].number, known[1][0].number); // a b
    EXPECT_GE(counts[1][1].number, size);               // x a
    EXPECT_GE(counts[2][0].number, size);               // x a b
    EXPECT_EQ(more.count("x a b")[2][0].number, counts[2][0].number);
}

TEST(Ngrams, OfManyTextsHaveNumbersOfTheirOwn) {
    NgramNumbers numbers;
    std::set<uint32_t> pairs;
    for (int i = 0; i < 2000; ++i)
        pairs.insert(numbers.count(std::to_string(i) + " " + std::to_string(i % 7))[1][0].number);
    EXPECT_EQ(pairs.size(), 2000u);
    EXPECT_EQ(numbers.size(), 4000u);
}
