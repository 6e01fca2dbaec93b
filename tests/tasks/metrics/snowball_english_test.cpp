#include "tasks/metrics/snowball_english.h"

#include <gtest/gtest.h>
#include <map>

using dorabench::snowball_english;

TEST(SnowballEnglish, StemsTheExamplesOfItsDescription) {
    const std::map<std::string, std::string> kStems = {{"consign", "consign"},
                                                       {"consigned", "consign"},
                                                       {"consistently", "consist"},
                                                       {"consolation", "consol"},
                                                       {"knackeries", "knackeri"},
                                                       {"knaves", "knave"},
                                                       {"knightly", "knight"},
                                                       {"knots", "knot"},
                                                       {"happy", "happi"},
                                                       {"gas", "gas"},
                                                       {"gaps", "gap"},
                                                       {"kiwis", "kiwi"},
                                                       {"ties", "tie"},
                                                       {"cries", "cri"},
                                                       {"luxuriated", "luxuri"},
                                                       {"hopping", "hop"},
                                                       {"hoping", "hope"},
                                                       {"generate", "generat"},
                                                       {"communism", "communism"},
                                                       {"arsenal", "arsenal"},
                                                       {"skies", "sky"},
                                                       {"dying", "die"},
                                                       {"news", "news"},
                                                       {"inning", "inning"},
                                                       {"say", "say"},
                                                       {"by", "by"},
                                                       {"cry", "cri"},
                                                       {"rational", "ration"},
                                                       {"hopefulness", "hope"},
                                                       {"electricity", "electr"},
                                                       {"adjustable", "adjust"},
                                                       {"controlling", "control"},
                                                       {"youth", "youth"},
                                                       {"boys'", "boy"},
                                                       {"dog's", "dog"},
                                                       {"running", "run"}};
    for (const auto& [word, stem] : kStems) EXPECT_EQ(snowball_english(word), stem) << word;
}

TEST(SnowballEnglish, LeavesShortAndForeignWordsAlone) {
    for (const std::string word : {"", "a", "is", "'", "привет", "3:30", "中文"})
        EXPECT_EQ(snowball_english(word), word);
}
