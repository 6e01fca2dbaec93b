#include "tasks/metrics/words.h"

#include <gtest/gtest.h>

using namespace dorabench;

TEST(Words, SplitsAtEveryKindOfWhiteSpace) {
    EXPECT_EQ(split_white_space(" a\tb\xC2\xA0"
                                "c\n\xE3\x80\x80"
                                "d "),
              (std::vector<std::string>{"a", "b", "c", "d"}));
    EXPECT_TRUE(split_white_space(" \n").empty());
    EXPECT_EQ(strip_white_space("\xC2\xA0 a b\t"), "a b");
    EXPECT_EQ(strip_white_space("  "), "");
}

TEST(Words, LowersLettersBeyondAscii) { EXPECT_EQ(lower_unicode("ÀÉ Ж A"), "àé ж a"); }
