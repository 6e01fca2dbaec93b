// The four image tasks of VL-BART over small data in their own formats.
#include "tasks/media_features.h"
#include "tasks/media_items.h"
#include "tasks/spec.h"
#include "tests/tasks/media_data.h"
#include <cmath>
#include <cstdlib>
#include <filesystem>

namespace dorabench {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::string annotation(int id, const std::vector<std::string>& answers, const std::string& type) {
    json out = {
        {"question_id", id}, {"answer_type", type}, {"question_type", "what"}, {"answers", json::array()}};
    for (size_t i = 0; i < answers.size(); ++i)
        out["answers"].push_back({{"answer", answers[i]}, {"answer_id", i + 1}});
    return out.dump();
}

std::vector<std::string> ten(const std::string& a, int n, const std::string& b) {
    std::vector<std::string> out(static_cast<size_t>(n), a);
    out.resize(10, b);
    return out;
}

class ImageTasks : public MediaData {
protected:
    void vqa() {
        put("vqa/karpathy_train.json",
            R"([{"answer_type": "other", "img_id": "COCO_train2014_000000000001", "label": {"net": 1, "a net": 0.3},
                 "question_id": 11, "question_type": "what", "sent": "What is this?"},
                {"answer_type": "other", "img_id": "COCO_train2014_000000000001", "label": {"rare": 0},
                 "question_id": 12, "question_type": "what", "sent": "And this?"}])");
        put("vqa/karpathy_test.json",
            R"([{"answer_type": "number", "img_id": "COCO_val2014_000000000007", "label": {"2": 1},
                 "question_id": 21, "question_type": "how many", "sent": "How many dogs?", "is_topk_optimal": true},
                {"answer_type": "yes/no", "img_id": "COCO_val2014_000000000007", "label": {"yes": 0.9},
                 "question_id": 22, "question_type": "is", "sent": "Is it wet?", "is_topk_optimal": false}])");
        put("vqa/v2_mscoco_val2014_annotations.json",
            "{\"annotations\": [" + annotation(21, ten("2", 8, "3"), "number") + "," +
                annotation(22, ten("yes", 2, "no"), "yes/no") + "]}");
        feature("COCO", "COCO_train2014_000000000001");
        feature("COCO", "COCO_val2014_000000000007");
    }
};

TEST_F(ImageTasks, VqaPromptsAndTargetsAreTheOriginals) {
    vqa();
    const auto task = make("vqa");
    const auto& examples = task->examples();
    ASSERT_EQ(examples.size(), 2u);
    EXPECT_EQ(examples[0].id, "21");
    EXPECT_EQ(examples[0].prompt, "vqa: How many dogs?");
    EXPECT_EQ(examples[0].media.features, folder_ / "features/COCO/COCO_val2014_000000000007.safetensors");
    EXPECT_EQ(examples[0].media.n_images, 1);
    const auto requests = task->requests(examples[0]);
    ASSERT_EQ(requests.size(), 1u);
    EXPECT_EQ(requests[0].context, "vqa: How many dogs?");
    EXPECT_EQ(requests[0].generate.num_beams, 1);
    const auto train = pairs("vqa");
    ASSERT_EQ(train.size(), 1u); // the other question has no answer worth anything
    EXPECT_EQ(train[0].prompt, "vqa: What is this?");
    EXPECT_EQ(train[0].loss_mean, LossMean::example);
    EXPECT_THAT(train[0].source, HasSubstr("karpathy_train.json:record 1"));
}

TEST_F(ImageTasks, VqaTrainsOnSoftTargetsOfWhichTheBestIsMeasured) {
    vqa();
    const TrainingPair pair = pairs("vqa").at(0);
    std::map<std::string, double> soft(pair.soft_targets.begin(), pair.soft_targets.end());
    EXPECT_EQ(soft, (std::map<std::string, double>{{"net", 1}, {"a net", 0.3}}));
    EXPECT_EQ(pair.target, "net");
    EXPECT_EQ(pair.weight, 1);
}

TEST_F(ImageTasks, SourcesAndTargetsHaveTheRecipesLimits) {
    vqa();
    const TrainingPair pair = pairs("vqa").at(0);
    EXPECT_EQ(pair.max_prompt, 20);
    EXPECT_EQ(pair.max_target, 10);
    const auto task = make("vqa");
    EXPECT_EQ(task->requests(task->examples().at(0)).at(0).max_context, 20);
    auto limits = [&](const char* name) {
        const MediaSpec media =
            *read_task_spec(test::source_dir() + "/tasks/specs/vlbart/" + name + ".yaml").media;
        return std::pair(media.max_prompt, media.max_target);
    };
    EXPECT_EQ(limits("gqa"), std::pair(int64_t(20), int64_t(0)));
    EXPECT_EQ(limits("nlvr2"), std::pair(int64_t(0), int64_t(0)));
    EXPECT_EQ(limits("coco_caption"), std::pair(int64_t(0), int64_t(40)));
    for (const char* name : {"tvqa", "how2qa", "tvc", "yc2c", "tvqa_test"})
        EXPECT_EQ(limits(name), std::pair(int64_t(600), int64_t(20))) << name;
}

TEST_F(ImageTasks, VqaScoresByTenHumans) {
    vqa();
    const auto task = make("vqa");
    const auto& examples = task->examples();
    EXPECT_DOUBLE_EQ(answered(*task, examples[0], "2").score, 1);
    EXPECT_DOUBLE_EQ(answered(*task, examples[0], "4").score, 0);
    const Score wet =
        answered(*task, examples[1], "yes"); // 2 of 10: left out once each, (2 * 1/3 + 8 * 2/3) / 10
    EXPECT_NEAR(wet.score, 0.6, 1e-12);
    const TaskResult result = task->aggregate(examples, {answered(*task, examples[0], "2"), wet});
    EXPECT_EQ(result.primary, "accuracy");
    EXPECT_NEAR(result.metrics.at("accuracy").value, 0.8, 1e-12);
    EXPECT_NEAR(result.metrics.at("accuracy_official").value, 0.8, 1e-12);
    EXPECT_NEAR(result.metrics.at("answer_type.yes/no").value, 0.6, 1e-12);
    EXPECT_NEAR(result.metrics.at("topk_optimal.true").value, 1, 1e-12);
    EXPECT_FALSE(result.has_chance);
}

TEST_F(ImageTasks, VqaReadsTheOfficialQuestionsToo) {
    put("vqa/karpathy_test.json",
        R"({"questions": [{"image_id": 7, "question": "Is it wet?", "question_id": 22}]})");
    put("vqa/v2_mscoco_val2014_annotations.json",
        "{\"annotations\": [" + annotation(22, ten("yes", 2, "no"), "yes/no") + "]}");
    feature("COCO", "7");
    const auto task = make("vqa");
    EXPECT_EQ(task->examples().at(0).prompt, "vqa: Is it wet?");
    EXPECT_EQ(task->examples().at(0).target, "no");
}

TEST_F(ImageTasks, VqaNamesTheQuestionWithoutAnAnnotation) {
    vqa();
    put("vqa/v2_mscoco_val2014_annotations.json",
        "{\"annotations\": [" + annotation(21, ten("2", 8, "3"), "number") + "]}");
    const std::string said = complaint([&] { make("vqa")->examples(); });
    EXPECT_THAT(said, HasSubstr("karpathy_test.json:record 2"));
    EXPECT_THAT(said, HasSubstr("question 22"));
}

TEST_F(ImageTasks, MissingFeaturesAreNamedByExample) {
    vqa();
    std::filesystem::remove(folder_ / "features/COCO/COCO_val2014_000000000007.safetensors");
    const std::string said = complaint([&] { make("vqa")->examples(); });
    EXPECT_THAT(said, HasSubstr("2 examples lack their features"));
    EXPECT_THAT(said, HasSubstr("karpathy_test.json:record 1: no features of COCO_val2014_000000000007"));
    EXPECT_THAT(said, HasSubstr("dora-bench features"));
    put("features/COCO/COCO_val2014_000000000007.safetensors", "damaged");
    EXPECT_THAT(complaint([&] { make("vqa")->examples(); }),
                HasSubstr("COCO_val2014_000000000007.safetensors"));
}

TEST_F(ImageTasks, ASpecMayLeaveExamplesWithoutFeaturesOut) {
    vqa();
    put("vqa/karpathy_test.json",
        R"([{"img_id": "gone", "label": {"2": 1}, "question_id": 21, "sent": "How many dogs?"},
            {"img_id": "COCO_val2014_000000000007", "label": {}, "question_id": 22, "sent": "Is it wet?"}])");
    put("own.yaml", "include: " + test::source_dir() +
                        "/tasks/specs/vlbart/vqa.yaml\nname: own/vqa\nfeatures: {missing: skip}\n");
    const auto task = make(folder_ / "own.yaml");
    ASSERT_EQ(task->examples().size(), 1u);
    EXPECT_EQ(task->examples()[0].id, "22");
}

TEST_F(ImageTasks, DamagedRecordsAreNamedByFileAndNumber) {
    vqa();
    auto train = [&](const std::string& record) {
        put("vqa/karpathy_train.json", "[" + record + "]");
        return complaint([&] { pairs("vqa"); });
    };
    EXPECT_THAT(train(R"({"img_id": "a", "label": {"x": 1}, "question_id": 1})"),
                HasSubstr("karpathy_train.json:record 1"));
    EXPECT_THAT(train(R"({"img_id": "a", "label": {"x": "much"}, "question_id": 1, "sent": "q"})"),
                HasSubstr("score"));
    EXPECT_THAT(train(R"({"img_id": "a", "label": {"x": 7}, "question_id": 1, "sent": "q"})"),
                HasSubstr("0 to 1"));
    EXPECT_THAT(train(R"({"img_id": "../../etc/passwd", "label": {"x": 1}, "question_id": 1, "sent": "q"})"),
                HasSubstr("file's name"));
    EXPECT_THAT(train("1"), HasSubstr("record 1"));
}

TEST_F(ImageTasks, GqaAsksAndScoresExactly) {
    put("GQA/train.json",
        R"([{"img_id": "1", "label": {"yes": 1}, "question_id": "a1", "sent": "Is it red?"}])");
    put("GQA/valid.json",
        R"([{"img_id": "2", "label": {"left": 1}, "question_id": "a2", "sent": "Which side?"}])");
    put("GQA/testdev.json",
        R"([{"img_id": "n3", "label": {"dog": 1.0}, "question_id": "a3", "sent": "What is it?"}])");
    feature("VG", "1"), feature("VG", "2"), feature("GQA", "n3");
    const auto task = make("gqa");
    const Example& example = task->examples().at(0);
    EXPECT_EQ(example.prompt, "gpa: What is it?");
    EXPECT_EQ(example.target, "dog");
    EXPECT_EQ(answered(*task, example, "dog").score, 1);
    EXPECT_EQ(answered(*task, example, "Dog").score, 0);
    const auto train = pairs("gqa"); // both files
    ASSERT_EQ(train.size(), 2u);
    EXPECT_EQ(train[1].prompt, "gpa: Which side?");
    EXPECT_EQ(train[1].target, "left");
    EXPECT_EQ(train[1].weight, 1);
}

TEST_F(ImageTasks, Nlvr2ComparesTrueWithFalseOverTwoImages) {
    std::string records;
    for (const char* id : {"dev-1-0-0", "dev-1-1-0", "dev-2-0-0"})
        records += std::string(records.empty() ? "[" : ",") + R"({"identifier": ")" + id +
                   R"(", "img0": "dev-1-0-img0", "img1": "dev-1-0-img1", "label": )" +
                   (std::string(id) == "dev-1-1-0" ? "0" : "1") + R"(, "sent": "Two dogs.", "uid": "u"})";
    put("nlvr/test.json", records + "]");
    put("nlvr/train.json", records + "]");
    feature("nlvr", "dev-1-0-img0"), feature("nlvr", "dev-1-0-img1");
    const auto task = make("nlvr2");
    const auto& examples = task->examples();
    ASSERT_EQ(examples.size(), 3u);
    EXPECT_EQ(examples[0].prompt, "nlvr: Two dogs.");
    EXPECT_EQ(examples[0].media.n_images, 2);
    EXPECT_EQ(examples[0].media.features, folder_ / "features/nlvr/dev-1-0-img0.safetensors\n" +
                                              (folder_ / "features/nlvr/dev-1-0-img1.safetensors"));
    const auto requests = task->requests(examples[0]);
    ASSERT_EQ(requests.size(), 2u);
    EXPECT_EQ(requests[0].kind, Request::Kind::score);
    EXPECT_EQ(requests[0].continuation, "true");
    EXPECT_EQ(requests[1].continuation, "false");
    auto says = [&](size_t i, double yes, double no) {
        Response a, b;
        a.loglikelihood = yes, b.loglikelihood = no;
        return task->score(examples[i], {a, b});
    };
    EXPECT_EQ(says(0, -1, -2).prediction, "true");
    EXPECT_EQ(says(1, -1, -2).score, 0);
    EXPECT_EQ(says(0, -1, -1).values.count("tie"), 1u);
    // sentence 1-0 is right for one of its two pairs, sentence 2-0 for its only one
    const TaskResult result = task->aggregate(examples, {says(0, -1, -2), says(1, -1, -2), says(2, -1, -2)});
    EXPECT_NEAR(result.metrics.at("accuracy").value, 2.0 / 3, 1e-12);
    EXPECT_NEAR(result.metrics.at("consistency").value, 0.5, 1e-12);
    EXPECT_EQ(result.chance, 0.5);
    EXPECT_EQ(pairs("nlvr2").at(1).target, "false");
}

TEST_F(ImageTasks, CaptionsFollowKarpathysSplitAndAreScoredTogether) {
    auto image = [](int id, const std::string& split, const std::string& a, const std::string& b) {
        return json{{"cocoid", id},
                    {"filename", "COCO_val2014_00000000000" + std::to_string(id) + ".jpg"},
                    {"filepath", "val2014"},
                    {"split", split},
                    {"sentences", {{{"raw", a}, {"tokens", {"x"}}}, {{"raw", b}, {"tokens", {"y"}}}}}};
    };
    put("COCO/dataset_coco.json",
        json{{"dataset", "coco"},
             {"images",
              {image(1, "train", "A dog.", "A brown dog runs."),
               image(2, "restval", "Two cats.", "Cats on a mat."),
               image(3, "test", "A red bus on a street.", "A bus drives down the street."),
               image(4, "test", "A man rides a horse.", "Someone on a horse in a field."),
               image(5, "val", "Unseen.", "Unseen.")}}}
            .dump());
    for (int id : {1, 2, 3, 4}) feature("COCO", "COCO_val2014_00000000000" + std::to_string(id));
    const auto train = pairs("coco_caption");
    ASSERT_EQ(train.size(), 4u);
    EXPECT_EQ(train[1].prompt, "caption: ");
    EXPECT_EQ(train[1].target, "A brown dog runs.");
    EXPECT_EQ(train[1].loss_mean, LossMean::tokens);
    EXPECT_EQ(train[1].id, "1/1");
    const auto task = make("coco_caption");
    const auto& examples = task->examples();
    ASSERT_EQ(examples.size(), 2u);
    EXPECT_EQ(examples[0].id, "3");
    const Request request = task->requests(examples[0]).at(0);
    EXPECT_EQ(request.generate.num_beams, 5);
    EXPECT_EQ(request.generate.max_new_tokens, 20);
    const Score right = answered(*task, examples[0], "A red bus on a street."),
                wrong = answered(*task, examples[1], "A plate of food.");
    EXPECT_GT(right.score, 0.3);
    EXPECT_LT(wrong.score, right.score);
    const TaskResult result = task->aggregate(examples, {right, wrong});
    EXPECT_EQ(result.primary, "cider");
    EXPECT_NEAR(result.metrics.at("cider").value,
                (right.values.at("cider_d") + wrong.values.at("cider_d")) / 2, 1e-9);
    for (const char* name : {"bleu_1", "bleu_4", "rouge_l"})
        EXPECT_EQ(result.metrics.count(name), 1u) << name;
    EXPECT_FALSE(result.has_chance);
    // SPICE is its authors' program, which the environment names: absent it is a missing value
    ASSERT_EQ(result.metrics.count("spice"), 1u);
    EXPECT_TRUE(result.metrics.at("spice").missing);
    put("spice.jar", "jar");
    put("java", "#!/bin/sh\nprintf '[{\"image_id\": 0, \"scores\": {\"All\": {\"f\": 0.5}}}, "
                "{\"image_id\": 1, \"scores\": {\"All\": {\"f\": 0.25}}}]' > \"$6\"\n");
    std::filesystem::permissions(folder_ / "java", std::filesystem::perms::owner_all);
    const std::string path = std::getenv("PATH");
    setenv("PATH", (folder_.path() + ":" + path).c_str(), 1);
    setenv("DORA_BENCH_SPICE", (folder_ / "spice.jar").c_str(), 1);
    const TaskResult with = task->aggregate(examples, {right, wrong});
    setenv("PATH", path.c_str(), 1);
    unsetenv("DORA_BENCH_SPICE");
    EXPECT_NEAR(with.metrics.at("spice").value, 0.375, 1e-12);
    EXPECT_EQ(with.metrics.at("spice").n, 2);
}

TEST_F(ImageTasks, FieldFilesAreBroughtIntoTheStoreOnce) {
    std::string why;
    if (!hdf5_available(&why)) GTEST_SKIP() << why;
    vqa();
    const std::string id = "COCO_val2014_000000000007",
                      store = folder_ / ("features/COCO/" + id + ".safetensors");
    std::filesystem::remove(store);
    make_folder(folder_ / "datasets/COCO/clip_features/data_clip_RN101_att");
    hdf5_library().write_matrix(folder_ / ("datasets/COCO/clip_features/data_clip_RN101_att/" + id + ".h5"),
                                id + "/features", {49, 8, std::vector<float>(49 * 8, 0.25f)});
    EXPECT_EQ(make("vqa")->examples().at(0).media.features, store);
    EXPECT_EQ(read_features(store, id).rows, 49);
    std::filesystem::remove_all(folder_ / "datasets");
    EXPECT_EQ(make("vqa")->examples().size(), 2u);
}

TEST_F(ImageTasks, HaveNoFewShotsTemplatesOrOtherModes) {
    TaskOptions own = options();
    own.mode = "loglikelihood";
    EXPECT_THAT(complaint([&] { catalog().make("vqa", own); }, ErrorKind::config),
                HasSubstr("evaluate.mode"));
    EXPECT_EQ(catalog().make("nlvr2", own)->name(), "vlbart/nlvr2");
    own = options();
    own.num_fewshot = 2;
    EXPECT_THAT(complaint([&] { catalog().make("vqa", own); }, ErrorKind::config), HasSubstr("num_fewshot"));
    own = options();
    own.template_name = "alpaca";
    EXPECT_THAT(complaint([&] { catalog().make("vqa", own); }, ErrorKind::config), HasSubstr("template"));
}

TEST_F(ImageTasks, FingerprintsFollowDataAndBeams) {
    vqa();
    const std::string before = make("vqa")->fingerprint();
    EXPECT_EQ(make("vqa")->fingerprint(), before);
    TaskOptions beams = options();
    beams.num_beams = 3;
    EXPECT_NE(catalog().make("vqa", beams)->fingerprint(), before);
    put("vqa/v2_mscoco_val2014_annotations.json", "{\"annotations\": []}");
    EXPECT_NE(make("vqa")->fingerprint(), before);
}

TEST(FeatureIds, FillNamesAndNumbersAndStayInTheirFolder) {
    EXPECT_EQ(fill_id("f/{id}.h5", "a b"), "f/a b.h5");
    EXPECT_EQ(fill_id("f/COCO_{id:012}.h5", "42"), "f/COCO_000000000042.h5");
    EXPECT_EQ(fill_id("f/COCO_{id:012}.h5", "x"), std::nullopt);
    for (const char* id : {"", "..", "a/b", "a\nb"}) EXPECT_THROW(fill_id("f/{id}", id), Error) << id;
}

TEST(SoftScores, AreVqasFiveSteps) {
    std::vector<double> scores;
    for (int64_t humans : {0, 1, 2, 3, 4, 10}) scores.push_back(soft_score(humans));
    EXPECT_THAT(scores, ElementsAre(0, 0.3, 0.6, 0.9, 1, 1));
}

} // namespace
} // namespace dorabench
