#include "tests/tasks/metrics/fixture_files.h"

using namespace dorabench;
using dorabench::test::MetricFiles;

TEST(VideoQa, ScoresSolutionsByShow) {
    auto values =
        MetricFiles(R"({"split": "x", "solution": {"Castle": {"1": 0, "2": 3}, "House": {"3": 4}}})",
                    R"({"1": 0, "2": 2, "3": 4})")
            .compute("video_qa");
    EXPECT_NEAR(values["accuracy"].value, 2.0 / 3, 1e-12);
    EXPECT_EQ(values["show.Castle"].value, 0.5);
    EXPECT_EQ(values["show.House"].value, 1);
}

TEST(VideoQa, ScoresLines) {
    auto values = MetricFiles("{\"qid\": 5, \"answer_idx\": 1}\n{\"qid\": 6, \"answer_idx\": 2}\n",
                              R"({"5": 1, "6": 1})")
                      .compute("video_qa");
    EXPECT_EQ(values["accuracy"].value, 0.5);
    EXPECT_EQ(
        MetricFiles("{\"qid\": 5, \"answer_idx\": 1}\n", R"({"5": 1})").compute("video_qa")["accuracy"].value,
        1);
}

TEST(VideoQa, RefusesOneSidedAndDoubleIds) {
    EXPECT_NE(MetricFiles(R"([{"qid": 5, "answer_idx": 1}])", "{}").error("video_qa").find("missing: 5"),
              std::string::npos);
    EXPECT_NE(MetricFiles(R"([{"qid": 5, "answer_idx": 1}])", R"({"5": 1, "6": 0})")
                  .error("video_qa")
                  .find("missing: 6"),
              std::string::npos);
    EXPECT_NE(MetricFiles(R"({"solution": {"a": {"1": 0}, "b": {"1": 0}}})", R"({"1": 0})").error("video_qa"),
              "");
    EXPECT_NE(MetricFiles(R"({"solution": {"a": {"1": "x"}}})", R"({"1": 0})").error("video_qa"), "");
}
