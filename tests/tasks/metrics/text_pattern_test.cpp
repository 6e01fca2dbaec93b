#include "tasks/metrics/text_pattern.h"

#include "harness/base/error.h"
#include <gtest/gtest.h>

using dorabench::TextPattern;

TEST(TextPattern, MatchesAtAPlaceAndFindsAll) {
    TextPattern pattern("(a+)b");
    EXPECT_FALSE(pattern.match_at("xaab", 0));
    auto match = pattern.match_at("xaab", 1);
    ASSERT_TRUE(match);
    EXPECT_EQ(match->end, 4u);
    EXPECT_EQ(match->group_end, 3u);
    EXPECT_EQ(pattern.find_all("ab aab b").size(), 2u);
    EXPECT_EQ(TextPattern("x*").find_all("éx").size(), 3u); // before é, the x, the end
}

TEST(TextPattern, RefusesABadExpression) { EXPECT_THROW(TextPattern("("), dorabench::Error); }

TEST(TextPattern, GivesNoMatchForTextThatExhaustsItsLimits) {
    EXPECT_FALSE(TextPattern("(?:a+)+c").find(std::string(2000, 'a') + "b"));
}

TEST(TextPattern, FindsNothingInTextThatIsNotUtf8) {
    EXPECT_FALSE(TextPattern("a").find("a\xFF"));
    EXPECT_TRUE(TextPattern("a").find_all("\xC3").empty());
}
