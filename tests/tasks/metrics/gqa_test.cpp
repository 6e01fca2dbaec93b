#include "tests/tasks/metrics/fixture_files.h"

using namespace dorabench;
using dorabench::test::MetricFiles;

namespace {

const std::string kQuestions = R"({
 "1": {"answer": "yes", "isBalanced": true, "types": {"structural": "verify", "semantic": "obj"}, "groups": {"global": "g"}, "entailed": ["1", "2", "3"]},
 "2": {"answer": "red", "isBalanced": true, "types": {"structural": "query", "semantic": "attr"}, "groups": {"global": "c"}, "entailed": []},
 "3": {"answer": "no", "isBalanced": false, "types": {"structural": "verify"}, "groups": {"global": null}, "entailed": []},
 "4": {"answer": "blue", "isBalanced": true, "types": {"structural": "query"}, "groups": {"global": "c"}, "entailed": ["9"]}})";

} // namespace

TEST(Gqa, MatchesTheHandComputedValues) {
    auto values =
        MetricFiles(kQuestions,
                    R"([{"questionId": "1", "prediction": "yes"}, {"questionId": "2", "prediction": "red"},
        {"questionId": "3", "prediction": "yes"}, {"questionId": "4", "prediction": "red"}])")
            .compute("gqa");
    EXPECT_NEAR(values["accuracy"].value, 2.0 / 3, 1e-12); // question 3 is not balanced
    EXPECT_EQ(values["binary"].value, 1);
    EXPECT_EQ(values["open"].value, 0.5);
    EXPECT_EQ(values["consistency"].value, 0.5); // question 1 entails 2 (right) and 3 (wrong)
    EXPECT_EQ(values["structural.query"].value, 0.5);
    // group g: no deviation, one question; group c: red 2 for 1, blue 0 for 1, two questions
    EXPECT_NEAR(values["distribution"].value, (0 * 1 + 2.0 * 2) / 3 / 100, 1e-12);
}

TEST(Gqa, CleansLlavaOutputs) {
    auto values =
        MetricFiles(
            kQuestions,
            "{\"question_id\": \"1\", \"text\": \"Yes.\"}\n{\"question_id\": \"2\", \"text\": \"Red\"}\n"
            "{\"question_id\": \"3\", \"text\": \"no\"}\n{\"question_id\": \"4\", \"text\": \"blue..\"}\n")
            .compute("gqa");
    EXPECT_EQ(values["accuracy"].value, 1);
    EXPECT_EQ(values["consistency"].value, 1);
}

TEST(Gqa, NamesMissingPredictions) {
    EXPECT_NE(
        MetricFiles(kQuestions, R"([{"questionId": "1", "prediction": "yes"}])").error("gqa").find("2, 3, 4"),
        std::string::npos);
}

TEST(Gqa, CleansTheSharedRawOutputs) {
    DORABENCH_NEEDS_SHARED();
    const std::string folder = dorabench::test::shared_dir() + "/data/made_up/gqa/";
    auto values = gqa_metric(folder + "questions.json", folder + "raw_outputs.jsonl");
    EXPECT_NEAR(values["accuracy"].value, 0.7368421052631579, 1e-9);
}
