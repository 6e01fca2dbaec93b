#include "tasks/metrics/metric.h"

#include "harness/base/rng.h"
#include "tests/tasks/metrics/fixture_files.h"
#include <cstdlib>
#include <nlohmann/json.hpp>

using namespace dorabench;
using dorabench::test::MetricFiles;
using dorabench::test::shared_dir;

namespace {

// A small valid pair of files for every metric.
struct Sample {
    std::string metric, references, predictions;
};

std::vector<Sample> samples() {
    const std::string vqa =
        R"({"annotations": [{"question_id": 1, "answer_type": "x", "answers": [{"answer": "a"}, {"answer": "b"}]}]})";
    const std::string vqa_results = R"([{"question_id": 1, "answer": "a"}])";
    const std::string table =
        "index\tA\tB\tanswer\tprediction\n0\tcat\t\"dog\"\tA\tA\n1000000\tdog\tcat\tB\tcat\n";
    return {
        {"caption",
         R"({"annotations": [{"image_id": 1, "caption": "A dog."}, {"image_id": 2, "caption": "A \"cat\"..."}]})",
         R"([{"image_id": 1, "caption": "it's"}, {"image_id": 2, "caption": "cat 1,000"}])"},
        {"vqa", vqa, vqa_results},
        {"vqa_m4c", vqa, vqa_results},
        {"vqa_vlt5", vqa, vqa_results},
        {"gqa",
         R"({"1": {"answer": "a", "isBalanced": true, "types": {"structural": "query"}, "groups": {"global": "g"}, "entailed": ["1"]}})",
         R"([{"questionId": "1", "prediction": "a"}])"},
        {"pope", R"([{"label": "yes"}])", R"([{"answer": "No, it"}])"},
        {"nlvr2", R"([{"identifier": "d-1-0-0", "label": "True"}])", "d-1-0-0,True\n"},
        {"mmbench", table, table},
        {"video_qa", R"({"solution": {"s": {"1": 2}}})", R"({"1": 2})"},
        {"scienceqa", R"({"1": {"choices": ["x", "y"], "answer": 1}})",
         R"([{"question_id": "1", "text": "The answer is B."}])"},
        {"multiple_choice", R"([{"answer": "true"}])", R"([{"text": "true"}])"}};
}

} // namespace

TEST(Metric, HasASampleOfEveryMetricHere) {
    ASSERT_EQ(samples().size(), metric_list().size());
    for (const Sample& sample : samples()) {
        auto values = MetricFiles(sample.references, sample.predictions).compute(sample.metric);
        EXPECT_FALSE(values.empty()) << sample.metric;
        for (const auto& [name, value] : values)
            EXPECT_TRUE(std::isfinite(value.value)) << sample.metric << " " << name;
    }
}

TEST(Metric, SuggestsTheNearestName) {
    try {
        find_metric("captoin");
        FAIL() << "an unknown metric was found";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::config);
        EXPECT_NE(std::string(error.what()).find("did you mean \"caption\""), std::string::npos)
            << error.what();
    }
}

TEST(Metric, AnswersDamagedFilesWithADataError) {
    const std::vector<std::string> damaged = {"",
                                              "{",
                                              "[1, 2",
                                              "null",
                                              "[]",
                                              "{}",
                                              "[{}]",
                                              "[null]",
                                              "[[]]",
                                              "7",
                                              "\"x\"",
                                              "{\"a\": {}}",
                                              "{\"annotations\": [{}]}",
                                              "{\"annotations\": {}}",
                                              "{\"1\": null}",
                                              "\xFF\xFE",
                                              "a\tb\n1\n",
                                              std::string(300000, '['),
                                              std::string(100000, '{'),
                                              "{\"solution\": 3}",
                                              "\x1F\x8B\x08"};
    for (const Sample& sample : samples())
        for (const std::string& bad : damaged) {
            EXPECT_NE(MetricFiles(bad, sample.predictions).error(sample.metric), "")
                << sample.metric << " " << bad.substr(0, 40);
            EXPECT_NE(MetricFiles(sample.references, bad).error(sample.metric) == "" &&
                          sample.metric != "scienceqa",
                      true)
                << sample.metric << " " << bad.substr(0, 40);
        }
    for (const Metric& metric : metric_list()) {
        EXPECT_THROW(metric.compute("/nowhere/a", "/nowhere/b"), Error) << metric.name;
        EXPECT_THROW(metric.compute("/tmp", "/tmp"), Error) << metric.name;
    }
}

TEST(Metric, SurvivesRandomDamage) { // values or a data error, nothing else
    Rng rng(7, "damage");
    const std::string signs = "[]{}\",:.\\0-9tfn \n\t\xFF\x80";
    for (const Sample& sample : samples())
        for (int round = 0; round < 60; ++round) {
            std::string references = sample.references, predictions = sample.predictions;
            for (uint64_t change = rng.below(3); change < 4; ++change) {
                std::string& text = rng.below(2) ? references : predictions;
                size_t at = rng.below(text.size());
                if (rng.below(3) == 0)
                    text.erase(at, 1 + rng.below(4));
                else
                    text[at] = signs[rng.below(signs.size())];
                if (text.empty()) text = " ";
            }
            MetricFiles(references, predictions).error(sample.metric);
        }
}

TEST(Metric, ReproducesEveryGoldenCase) {
    DORABENCH_NEEDS_SHARED();
    setenv("DORA_BENCH_METEOR", (shared_dir() + "/data/meteor").c_str(), 1);
    size_t cases = 0;
    for (const auto& folder : std::filesystem::directory_iterator(shared_dir() + "/golden/metrics")) {
        const std::string path = folder.path().string();
        if (!exists(path + "/expected.json")) continue;
        const auto golden = nlohmann::json::parse(read_file(path + "/expected.json"));
        for (const auto& item : golden["cases"]) {
            const std::string metric = item["metric"];
            auto values = find_metric(metric).compute(path + "/" + item["references"].get<std::string>(),
                                                      path + "/" + item["predictions"].get<std::string>());
            for (const auto& [name, want] : item["values"].items()) {
                ASSERT_TRUE(values.count(name)) << metric << " " << name;
                EXPECT_NEAR(values[name].value, want.get<double>(), 1e-6)
                    << metric << " " << name << " " << item["references"];
                EXPECT_GT(values[name].stderr_, 0) << metric << " " << name;
                EXPECT_GT(values[name].n, 0) << metric << " " << name;
            }
            ++cases;
        }
    }
    unsetenv("DORA_BENCH_METEOR");
    EXPECT_GE(cases, 15u);
}
