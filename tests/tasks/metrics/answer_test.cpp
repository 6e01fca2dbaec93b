#include "harness/base/error.h"
#include "tasks/metrics/answer.h"
#include "tests/support/paths.h"

namespace dorabench {
namespace {

std::string found(const AnswerRule& rule, const std::string& text) {
    return AnswerPattern(rule).find(text).value_or("<none>");
}

TEST(AnswerPattern, TakesTheFirstMatchCaseSensitivelyWithoutWordBoundaries) {
    AnswerRule rule{"true|false"};
    EXPECT_EQ(found(rule, "false or true"), "false");
    EXPECT_EQ(found(rule, "True, that is untrue"), "true");
    EXPECT_EQ(found(rule, "the correct answer is"), "<none>");
    EXPECT_EQ(found(rule, ""), "<none>");
}

TEST(AnswerPattern, TakesTheLastMatchWhereAskedTo) {
    AnswerRule rule{"[\\$€£]?\\d+(?:\\.\\d+)?(?:\\:\\d+(?:\\.\\d+)?)?", true};
    EXPECT_EQ(found(rule, "3 apples and 4.5 pears cost €7.25."), "€7.25");
    EXPECT_EQ(found(rule, "a ratio of 3:4"), "3:4");
    EXPECT_EQ(found(rule, "none"), "<none>");
}

TEST(AnswerPattern, GivesTheFirstGroupWhereThereIsOne) {
    EXPECT_EQ(found({"answer is ([A-E])"}, "The answer is C."), "C");
    EXPECT_EQ(found({"(x)|y"}, "y"), "y");
}

TEST(AnswerPattern, IgnoresCaseWhereAskedTo) { EXPECT_EQ(found({"yes|no", false, true}, "YES!"), "YES"); }

TEST(AnswerPattern, IsTheStrippedTextWithoutAnExpression) {
    EXPECT_EQ(found({}, "  red boat\n"), "red boat");
    EXPECT_EQ(found({}, " \n"), "<none>");
}

TEST(AnswerPattern, EndsOnEmptyMatchesAndReadsTextThatIsNotUtf8) {
    EXPECT_EQ(found({"x*", true}, "axxb"), "");
    EXPECT_EQ(found({"option1|option2"}, "\xff\xfe option2 \xc3"), "option2");
}

TEST(AnswerPattern, NamesThePlaceOfAMistake) {
    try {
        AnswerPattern pattern({"(true|false"});
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::config);
        EXPECT_NE(std::string(error.what()).find("at character 12"), std::string::npos) << error.what();
    }
}

} // namespace
} // namespace dorabench
