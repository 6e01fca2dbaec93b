#include "tasks/metrics/scienceqa.h"

#include "tests/tasks/metrics/fixture_files.h"
#include <nlohmann/json.hpp>

using namespace dorabench;
using dorabench::test::MetricFiles;
using dorabench::test::shared_dir;

TEST(ScienceQa, ReadsLettersAsTheOriginal) {
    EXPECT_EQ(scienceqa_letter("A"), 'A');
    EXPECT_EQ(scienceqa_letter("C. The answer is D."), 'C');
    EXPECT_EQ(scienceqa_letter("Because. The answer is BC"), 'B');
    for (const std::string failed :
         {"F", "a", "A.", "The answer is B", "The answer is B. The answer is C.", ""})
        EXPECT_FALSE(scienceqa_letter(failed)) << failed;
}

TEST(ScienceQa, ReadsTheSharedOutputsAsTheOriginal) {
    DORABENCH_NEEDS_SHARED();
    auto json = [&](const std::string& name) {
        return nlohmann::json::parse(read_file(shared_dir() + "/data/scienceqa/" + name));
    };
    auto check = [](const nlohmann::json& item) {
        auto letter = scienceqa_letter(item["text"]);
        EXPECT_EQ(letter ? std::string(1, *letter) : "FAILED", item["parsed"]) << item["text"];
    };
    for (const auto& item : json("parse_cases.json")) check(item);
    const auto outputs = json("llava_13b_v0_answer_extraction.json");
    for (const auto& item : outputs["cases"]) check(item);
    EXPECT_EQ(outputs["cases"].size(), 4241u);
}

TEST(ScienceQa, CountsMissingAndUnreadableAnswersAsWrong) {
    const std::string gold =
        R"({"1": {"choices": ["x", "y"], "answer": 1, "split": "test", "image": "image.png"},
        "2": {"choices": ["x", "y"], "answer": 0, "split": "test", "image": null}, "3": {"choices": ["x"], "answer": 0, "split": "train"},
        "4": {"choices": ["x", "y"], "answer": 0, "split": "test"}})";
    auto values =
        MetricFiles(gold,
                    "{\"question_id\": \"1\", \"text\": \"B\"}\n{\"question_id\": \"2\", \"text\": \"D\"}\n")
            .compute("scienceqa");
    EXPECT_NEAR(values["accuracy"].value, 1.0 / 3, 1e-12);
    EXPECT_EQ(values["image_accuracy"].value, 1);
    EXPECT_EQ(values["image_accuracy"].n, 1);
    EXPECT_NEAR(values["unparsed"].value, 1.0 / 3, 1e-12);
    EXPECT_NE(MetricFiles(gold, R"([{"question_id": "9", "text": "B"}])").error("scienceqa").find("9"),
              std::string::npos);
    EXPECT_NE(
        MetricFiles(R"({"1": {"choices": ["x"], "answer": 1}})", R"([{"question_id": "1", "text": "B"}])")
            .error("scienceqa"),
        "");
}
