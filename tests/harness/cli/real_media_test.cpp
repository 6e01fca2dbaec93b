// Real images and videos the whole way up to a model's door: decoded, encoded by a tiny random CLIP, found by
// the tasks, asked in the original's words, and the answers scored. (The model's part is backends/vlbart's
// tests.)
#include "backends/media/feature_files.h"
#include "backends/media/media.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "tasks/catalog.h"
#include "tests/support/paths.h"
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;

class RealMedia : public testing::Test {
protected:
    void SetUp() override {
        DORABENCH_NEEDS_SHARED();
        std::string why;
        if (!media_available(&why)) GTEST_SKIP() << why;
        media_ = test::shared_dir() + "/data/media";
    }
    json features(const std::string& section) {
        write_file_atomic(data_ / "config.yaml",
                          "data_dir: " + data_.path() + "\nfeatures: {" + section + "}\n");
        FeaturesOptions options;
        options.config = data_ / "config.yaml";
        Globals globals;
        globals.format = "json";
        testing::internal::CaptureStdout();
        features_command(options, globals);
        return json::parse(testing::internal::GetCapturedStdout());
    }
    std::unique_ptr<Task> task(const std::string& name, const std::string& lines) {
        write_file_atomic(data_ / name, "include: " + test::source_dir() + "/tasks/specs/" + lines);
        return catalog_.make(data_ / name, options());
    }
    TaskOptions options() const {
        TaskOptions out;
        out.data_dir = data_.path();
        out.num_beams = out.max_new_tokens = 0;
        return out;
    }
    void copy(const std::string& file) {
        std::filesystem::copy_file(media_ + "/" + file,
                                   data_ / std::filesystem::path(file).filename().string());
    }
    static std::vector<Score> answered(const Task& task, const std::vector<Example>& examples,
                                       const std::function<std::string(const Example&)>& say) {
        std::vector<Score> out;
        for (const Example& example : examples) {
            Response response;
            response.text = say(example);
            out.push_back(task.score(example, {response}));
        }
        return out;
    }
    const TaskCatalog catalog_{test::source_dir() + "/tasks/specs"};
    std::string media_;
    test::TempDir data_;
};

TEST_F(RealMedia, ImagesBecomeQuestionsCaptionsAndScores) {
    copy("vqa_questions.json"), copy("vqa_annotations.json"), copy("captions_coco_format.json");
    const json said = features("images: " + media_ +
                               "/images, list: captions_coco_format.json, to: features/COCO, encoder: " +
                               test::golden("vision/clip_resnet.safetensors"));
    EXPECT_EQ(said["written"], 9);
    const auto vqa =
        task("vqa.yaml", "vlbart/vqa.yaml\nname: real/vqa\ndata: {train: [vqa_questions.json], test: "
                         "[vqa_questions.json], annotations: [vqa_annotations.json]}\n");
    const auto& questions = vqa->examples();
    ASSERT_EQ(questions.size(), 27u);
    EXPECT_EQ(questions[0].prompt, "vqa: What color is the suit?");
    EXPECT_EQ(questions[0].media.features, data_ / "features/COCO/1.safetensors");
    EXPECT_EQ(read_features(questions[0].media.features, "1").rows, 4);
    const auto right =
        vqa->aggregate(questions, answered(*vqa, questions, [](const Example& e) { return e.target; }));
    const auto wrong =
        vqa->aggregate(questions, answered(*vqa, questions, [](const Example&) { return "aardvark"; }));
    EXPECT_GT(right.metrics.at("accuracy").value, 0.9);
    EXPECT_EQ(wrong.metrics.at("accuracy").value, 0);
    EXPECT_EQ(catalog_.training_pairs(data_ / "vqa.yaml", options()).size(), 27u);
    const auto caption =
        task("caption.yaml", "vlbart/coco_caption.yaml\nname: real/caption\ndata: {train: "
                             "[captions_coco_format.json], test: [captions_coco_format.json]}\n");
    const auto& images = caption->examples();
    ASSERT_EQ(images.size(), 9u);
    const auto scores = answered(*caption, images, [](const Example& e) { return e.target; });
    const auto captions = caption->aggregate(images, scores);
    EXPECT_NEAR(captions.metrics.at("bleu_1").value, 1, 1e-6); // its own first reference
    EXPECT_GT(captions.metrics.at("cider").value, 1);
    EXPECT_EQ(catalog_.training_pairs(data_ / "caption.yaml", options()).size(), 45u);
}

TEST_F(RealMedia, VideosBecomeQuestionsAndASubmission) {
    make_folder(data_ / "video/ann/tvqa");
    json videos = json::parse(read_file(media_ + "/videos.json"));
    std::string lines, subtitles;
    int64_t qid = 0;
    for (const json& video : videos) {
        const std::string name = std::filesystem::path(video["file"].get<std::string>()).stem().string();
        subtitles +=
            json{{"vid_name", name}, {"sub", {{{"text", "hello"}, {"start", 0}, {"end", 1}}}}}.dump() + "\n";
        if (!video.contains("questions")) continue;
        for (const json& question : video["questions"]) {
            json record = {
                {"qid", qid++}, {"q", question["question"]}, {"ts", "0.0-2.0"}, {"vid_name", name}};
            const auto& options = question["options"];
            for (size_t i = 0; i < 5; ++i)
                record[cat("a", i)] = i < options.size() ? options[i] : json("none");
            record["answer_idx"] = question["answer_idx"];
            lines += record.dump() + "\n";
        }
    }
    ASSERT_GT(qid, 1);
    write_file_atomic(data_ / "video/ann/tv_subtitles.jsonl", subtitles);
    write_file_atomic(data_ / "video/ann/tvqa/tvqa_val.jsonl", lines);
    write_file_atomic(data_ / "video/ann/tvqa/tvqa_test_release.jsonl", lines);
    make_folder(data_ / "clips");
    for (const json& video : videos)
        std::filesystem::copy_file(media_ + "/videos/" + video["file"].get<std::string>(),
                                   data_ / ("clips/" + video["file"].get<std::string>()));
    const json said = features("videos: clips, kind: embedding, rows: 64, to: features/tv, encoder: " +
                               test::golden("vision/clip_vit.safetensors"));
    EXPECT_EQ(said["written"], static_cast<int64_t>(videos.size()));
    EXPECT_EQ(said["skipped"], 0);
    const auto tvqa = catalog_.make("tvqa", options());
    const auto& examples = tvqa->examples();
    ASSERT_EQ(static_cast<int64_t>(examples.size()), qid);
    EXPECT_TRUE(starts_with(examples[0].prompt, "[Subs] hello [Q] "));
    EXPECT_TRUE(ends_with(examples[0].prompt, " tvqa: "));
    const FeatureTable nasa = read_features(data_ / "features/tv/nasa_13013.safetensors", "nasa_13013");
    EXPECT_EQ(nasa.rows, 64);
    // 12.98 s at one frame every 1.5 s: nine frames, then zeros
    for (int64_t row = 0; row < 64; ++row) {
        bool zero = true;
        for (int64_t c = 0; c < nasa.width; ++c)
            zero = zero && nasa.values[static_cast<size_t>(row * nasa.width + c)] == 0;
        EXPECT_EQ(zero, row >= 9) << row;
    }
    const auto scores = answered(*tvqa, examples, [](const Example& e) { return e.target; });
    EXPECT_EQ(tvqa->aggregate(examples, scores).metrics.at("accuracy").value, 1);
    const auto test = catalog_.make("tvqa_test", options());
    const auto files = test->submissions(test->examples(), scores);
    EXPECT_EQ(json::parse(files.at("tvqa_test_predictions.json")).size(), static_cast<size_t>(qid));
}

} // namespace
} // namespace dorabench
