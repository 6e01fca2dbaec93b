#include "tasks/metrics/vqa.h"

#include "tasks/metrics/vqa_normalise.h"
#include "tests/tasks/metrics/fixture_files.h"
#include <nlohmann/json.hpp>

using namespace dorabench;
using dorabench::test::MetricFiles;
using dorabench::test::shared_dir;

namespace {

std::vector<std::string> times(int n, const std::string& answer, const std::string& others = "x") {
    std::vector<std::string> out(10, others);
    for (int i = 0; i < n; ++i) out[static_cast<size_t>(i)] = answer;
    return out;
}

} // namespace

TEST(VqaScore, CountsMatchesAmongTheOtherAnswers) {
    const double expected[] = {0, 0.3, 0.6, 0.9, 1, 1};
    for (int n = 0; n <= 5; ++n)
        for (VqaRule rule : {VqaRule::official, VqaRule::m4c, VqaRule::vlt5})
            EXPECT_NEAR(vqa_score("dog", times(n, "dog"), rule), expected[n], 1e-12) << n;
}

TEST(VqaScore, NormalisesOnlyWhereAnswersDifferUnlessTheRuleSaysSo) {
    EXPECT_EQ(vqa_score("Yes", times(10, "yes"), VqaRule::official), 0);
    EXPECT_EQ(vqa_score("Yes", times(10, "yes"), VqaRule::m4c), 1);
    EXPECT_EQ(vqa_score("Yes", times(10, "yes"), VqaRule::vlt5), 1);
    EXPECT_EQ(vqa_score("Yes.", times(9, "yes"), VqaRule::official), 1);
    EXPECT_EQ(vqa_score("two", times(9, "two"), VqaRule::vlt5),
              0); // "2" against answers that keep their words
    EXPECT_EQ(vqa_score("two", times(9, "2"), VqaRule::vlt5), 1);
    EXPECT_EQ(vqa_score("x", {}, VqaRule::official), 0);
}

TEST(VqaNormaliser, FollowsTheScriptsQuirks) {
    EXPECT_EQ(vqa_normalise("1,000 people!"), "1000 people");
    EXPECT_EQ(vqa_normalise("red,white x/y"), "red white x y");
    EXPECT_EQ(vqa_normalise("red, white"), "red white");
    EXPECT_EQ(vqa_normalise("U.S.A. 3.5."), "usa 3.5");
    EXPECT_EQ(vqa_normalise("A dont know none"), "don't know 0");
    EXPECT_EQ(vqa_normalise("\tThe\ndog "), "dog");
    EXPECT_EQ(vqa_normalise_m4c("red,white it's?"), "redwhite it 's");
    EXPECT_EQ(vqa_punctuation(std::string(40, '.')), std::string(8, '.')); // at most 32 dots go
}

TEST(VqaNormaliser, AgreesWithTheOriginal) {
    DORABENCH_NEEDS_SHARED();
    size_t count = 0;
    for (const std::string name : {"normaliser_cases.json", "normaliser_random.json"})
        for (const auto& item : nlohmann::json::parse(read_file(shared_dir() + "/data/vqa/" + name))) {
            EXPECT_EQ(vqa_normalise(item["raw"].get<std::string>()), item["vqa"]) << item["raw"];
            EXPECT_EQ(vqa_normalise_m4c(item["raw"].get<std::string>()), item["m4c"]) << item["raw"];
            ++count;
        }
    EXPECT_GT(count, 200u);
}

TEST(VqaScore, AgreesWithTheOriginalOnEveryQuestion) {
    DORABENCH_NEEDS_SHARED();
    for (const std::string set : {"textvqa", "vizwiz"}) {
        const std::string folder = shared_dir() + "/data/vqa/" + set;
        auto json = [&](const std::string& name) {
            return nlohmann::json::parse(read_file(folder + "/" + name));
        };
        const auto expected = json("expected.json");
        std::map<std::string, std::string> results;
        for (const auto& item : json("results.json")) results[item["question_id"].dump()] = item["answer"];
        const auto annotations = json("annotations.json");
        for (const auto& item : annotations["annotations"]) {
            std::vector<std::string> answers;
            for (const auto& answer : item["answers"]) answers.push_back(answer["answer"]);
            const std::string id = item["question_id"].dump();
            const auto& want = expected["per_question"][id];
            EXPECT_NEAR(vqa_score(results[id], answers, VqaRule::official), want["vqa"].get<double>(), 1e-9)
                << set << id;
            EXPECT_NEAR(vqa_score(results[id], answers, VqaRule::m4c), want["textvqa_m4c"].get<double>(),
                        1e-9)
                << set << id;
        }
    }
}

TEST(VqaMetric, ReportsTypesAndRefusesOneSidedIds) {
    const std::string gold = R"({"annotations": [
        {"question_id": 1, "answer_type": "yes/no", "question_type": "is", "answers": [{"answer": "yes"}, {"answer": "yes"}]},
        {"question_id": 2, "answer_type": "other", "question_type": "what", "answers": ["dog", "dog", "dog", "dog", "cat"]}]})";
    auto values =
        MetricFiles(gold, R"([{"question_id": 1, "answer": "no"}, {"question_id": 2, "answer": "Dog"}])")
            .compute("vqa");
    EXPECT_EQ(values["accuracy"].value, 0.5);
    EXPECT_EQ(values["accuracy"].n, 2);
    EXPECT_EQ(values["answer_type.yes/no"].value, 0);
    EXPECT_EQ(values["question_type.what"].value, 1);
    EXPECT_NE(MetricFiles(gold, R"([{"question_id": 1, "answer": "no"}])").error("vqa").find("missing: 2"),
              std::string::npos);
    EXPECT_NE(MetricFiles(gold, R"([{"question_id": 1, "answer": "no"}, {"question_id": 1, "answer": "x"}])")
                  .error("vqa")
                  .find("second time"),
              std::string::npos);
}
