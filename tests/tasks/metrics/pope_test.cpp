#include "tasks/metrics/pope.h"

#include "tests/tasks/metrics/fixture_files.h"
#include <nlohmann/json.hpp>

using namespace dorabench;
using dorabench::test::MetricFiles;
using dorabench::test::shared_dir;

TEST(Pope, ReadsYesAndNoAsTheOriginal) {
    for (const std::string yes :
         {"yes", "NO", "nope", "cannot see", "", "Yes. No doubt.", "yes,no", "Not visible"})
        EXPECT_TRUE(pope_says_yes(yes)) << yes;
    for (const std::string no : {"No", "no,", "There is not.", "I see it, not sure", "Yes, no problem"})
        EXPECT_FALSE(pope_says_yes(no)) << no;
}

TEST(Pope, ReadsTheSharedAnswersAsTheOriginal) {
    DORABENCH_NEEDS_SHARED();
    for (const auto& item : nlohmann::json::parse(read_file(shared_dir() + "/data/pope/parse_cases.json")))
        EXPECT_EQ(pope_says_yes(item["text"]), item["parsed"] == "yes") << item["text"];
}

TEST(Pope, MatchesTheHandComputedValues) {
    auto values =
        MetricFiles("{\"label\": \"yes\"}\n{\"label\": \"yes\"}\n{\"label\": \"no\"}\n{\"label\": \"no\"}\n",
                    "{\"text\": \"yes\"}\n{\"text\": \"no\"}\n{\"text\": \"yes\"}\n{\"text\": \"yes\"}\n")
            .compute("pope"); // one true positive, two false ones, one false negative
    EXPECT_EQ(values["accuracy"].value, 0.25);
    EXPECT_NEAR(values["precision"].value, 1.0 / 3, 1e-12);
    EXPECT_EQ(values["recall"].value, 0.5);
    EXPECT_NEAR(values["f1"].value, 0.4, 1e-12);
    EXPECT_EQ(values["yes_ratio"].value, 0.75);
}

TEST(Pope, GuardsEmptyDenominatorsAndOrder) {
    auto values = MetricFiles("[{\"label\": \"no\"}]", "[{\"answer\": \"no\"}]").compute("pope");
    EXPECT_EQ(values["precision"].value, 0);
    EXPECT_EQ(values["f1"].value, 0);
    EXPECT_NE(MetricFiles("[{\"label\": \"no\"}]", "[]").error("pope"), "");
    EXPECT_NE(MetricFiles("[{\"label\": \"maybe\"}]", "[{\"answer\": \"no\"}]").error("pope"), "");
    EXPECT_NE(
        MetricFiles("[{\"label\": \"no\", \"question_id\": 1}]", "[{\"answer\": \"no\", \"question_id\": 2}]")
            .error("pope"),
        "");
}

TEST(Pope, AveragesThreeSplitsOfFolders) {
    dorabench::test::TempDir gold, answers;
    for (const std::string split : {"random", "popular", "adversarial"}) {
        dorabench::test::put_file(gold / ("coco_pope_" + split + ".jsonl"),
                                  "[{\"label\": \"yes\"}, {\"label\": \"no\"}]");
        dorabench::test::put_file(answers / (split + ".json"),
                                  split == "random" ? "[{\"answer\": \"yes\"}, {\"answer\": \"no\"}]"
                                                    : "[{\"answer\": \"yes\"}, {\"answer\": \"yes\"}]");
    }
    auto values = pope_metric(gold.path(), answers.path());
    EXPECT_EQ(values["random.f1"].value, 1);
    EXPECT_NEAR(values["f1"].value, (1 + 2.0 / 3 + 2.0 / 3) / 3, 1e-12);
    EXPECT_EQ(values["accuracy"].n, 6);
    EXPECT_THROW(pope_metric(gold.path(), answers / "random.json"), Error);
    std::filesystem::remove(answers / "popular.json");
    EXPECT_THROW(pope_metric(gold.path(), answers.path()), Error);
}
