#include "tasks/metrics/pattern.h"

#include "harness/base/error.h"
#include <gtest/gtest.h>

using dorabench::Pattern;

TEST(Pattern, MatchesAtAPlaceAndFindsAll) {
    Pattern pattern("(a+)b");
    EXPECT_FALSE(pattern.match_at("xaab", 0));
    auto match = pattern.match_at("xaab", 1);
    ASSERT_TRUE(match);
    EXPECT_EQ(match->end, 4u);
    EXPECT_EQ(match->group_end, 3u);
    EXPECT_EQ(pattern.find_all("ab aab b").size(), 2u);
    EXPECT_EQ(Pattern("x*").find_all("éx").size(), 3u); // before é, the x, the end
}

TEST(Pattern, RefusesABadExpression) { EXPECT_THROW(Pattern("("), dorabench::Error); }

TEST(Pattern, GivesNoMatchForTextThatExhaustsItsLimits) {
    EXPECT_FALSE(Pattern("(?:a+)+c").find(std::string(2000, 'a') + "b"));
}
