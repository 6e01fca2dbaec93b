#include "harness/base/error.h"
#include "harness/base/rng.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>

namespace dorabench {
namespace {

// Golden values: another machine, compiler or library has to give the same (make_rng.py computes them from
// the papers' definitions, in Python).
TEST(Rng, GivesTheSameBitsEverywhere) {
    Rng rng(42, "data");
    std::vector<uint64_t> words{rng.next(), rng.next(), rng.next()};
    EXPECT_EQ(words, (std::vector<uint64_t>{11509336045351372518ull, 5277962872057164213ull,
                                            3120564439610756126ull}));
    EXPECT_EQ(stream_seed(42, "data"), 17998428798301831347ull);
    EXPECT_EQ(stream_seed(0, ""), 6566800829925814604ull);
}

TEST(Rng, GivesTheSameNormalsEverywhere) {
    Rng rng(7, "init");
    EXPECT_DOUBLE_EQ(rng.normal(), -0.2075562467490875);
    EXPECT_DOUBLE_EQ(rng.normal(), 0.7707966743647088);
}

TEST(Rng, StreamsDifferByNameAndSeed) {
    EXPECT_NE(Rng(1, "a").next(), Rng(1, "b").next());
    EXPECT_NE(Rng(1, "a").next(), Rng(2, "a").next());
    EXPECT_NE(stream_seed(1, "a"), stream_seed(1, "b"));
}

TEST(Rng, BelowStaysBelowAndIsEven) {
    Rng rng(3, "below");
    std::vector<int> counts(7);
    for (int i = 0; i < 70'000; ++i) ++counts.at(rng.below(7));
    double chi2 = 0;
    for (int count : counts) chi2 += (count - 10'000.0) * (count - 10'000.0) / 10'000.0;
    EXPECT_LT(chi2, 22.5); // p = 0.001 at six degrees of freedom
    EXPECT_EQ(rng.below(1), 0u);
    EXPECT_LT(rng.below(UINT64_MAX), UINT64_MAX);
    EXPECT_THROW(rng.below(0), Error);
}

TEST(Rng, UniformAndNormalHaveTheirMoments) {
    Rng rng(5, "moments");
    constexpr int kDraws = 200'000;
    double sum = 0, squares = 0, fourth = 0, uniform = 0;
    for (int i = 0; i < kDraws; ++i) {
        double x = rng.normal(), u = rng.uniform();
        ASSERT_TRUE(u >= 0 && u < 1);
        uniform += u;
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    EXPECT_NEAR(uniform / kDraws, 0.5, 0.003);
    EXPECT_NEAR(sum / kDraws, 0, 0.01);
    EXPECT_NEAR(squares / kDraws, 1, 0.015);
    EXPECT_NEAR(fourth / kDraws, 3, 0.12);
}

TEST(Rng, ShuffleKeepsEveryItem) {
    Rng rng(9, "order");
    std::vector<int> items(100), sorted(100);
    std::iota(items.begin(), items.end(), 0);
    sorted = items;
    rng.shuffle(items);
    EXPECT_NE(items, sorted);
    std::sort(items.begin(), items.end());
    EXPECT_EQ(items, sorted);
}

} // namespace
} // namespace dorabench
