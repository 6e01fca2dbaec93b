#include "tests/tasks/metrics/fixture_files.h"

using namespace dorabench;
using dorabench::test::MetricFiles;

TEST(MultipleChoice, TakesTheFirstMatchWithoutWordBoundaries) {
    auto values =
        MetricFiles(
            R"([{"answer": "answer1"}, {"answer": "answer2"}, {"answer": "answer3"}, {"answer": "answer1"}])",
            R"([{"output_pred": "the correct answer is answer12"}, {"text": "answer2 or answer1"},
                                  {"text": "Answer3"}, {"prediction": "answer2"}])")
            .compute("multiple_choice");
    EXPECT_EQ(values["accuracy"].value, 0.5);
    EXPECT_EQ(values["unparsed"].value, 0.25);
}

TEST(MultipleChoice, KnowsTheWordsOfEverySet) {
    auto values =
        MetricFiles(
            R"([{"answer": "true"}, {"answer": "solution2"}, {"answer": "ending4"}, {"answer": "option1"}, {"answer": "Paris"}])",
            R"([{"text": "untrue"}, {"text": "solution2"}, {"text": "it is ending4."}, {"text": "option2"}, {"text": " Paris\n"}])")
            .compute("multiple_choice");
    EXPECT_EQ(values["accuracy"].value, 0.8);
}

TEST(MultipleChoice, RefusesFilesThatDoNotPair) {
    EXPECT_NE(MetricFiles(R"([{"answer": "true"}])", "[]").error("multiple_choice"), "");
    EXPECT_NE(MetricFiles(R"([{"answer": "true", "instruction": "a"}])",
                          R"([{"text": "true", "instruction": "b"}])")
                  .error("multiple_choice")
                  .find("record 1"),
              std::string::npos);
}
