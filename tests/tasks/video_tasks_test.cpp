// The four video tasks of VL-BART (VALUE) over small data in their own formats.
#include "tasks/media_items.h"
#include "tasks/media_task.h"
#include "tests/tasks/media_data.h"

namespace dorabench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class VideoTasks : public MediaData {
protected:
    void SetUp() override {
        put("video/ann/tv_subtitles.jsonl",
            R"x({"vid_name": "s01e01_clip_00", "sub": [{"text": "House: No.", "start": 0, "end": 1.5}, {"text": "(sighs)", "start": 2, "end": 3}]})x"
            "\n"
            R"({"vid_name": "s01e01_clip_01", "sub": []})"
            "\n");
put("video/ann/how2_subtitles.jsonl", R"({"vid_name": "1000", "sub": [{"text": "add salt"}]})");
put("video/ann/yc2_subtitles.jsonl", R"({"vid_name": "xHr8X2Wpmno_3", "sub": [{"text": "stir it"}]})");
feature("tv", "s01e01_clip_00", 64), feature("tv", "s01e01_clip_01", 64);
feature("how2", "1000", 64), feature("yc2", "xHr8X2Wpmno_3", 64);
}
static std::string tvqa(int qid, const std::string& answer = "") {
    return R"({"qid": )" + std::to_string(qid) +
           R"(, "q": "What did House say?", "a0": "No.", "a1": " Yes. ", "a2": "Maybe...", "a3": "I. don't know", "a4": "",)" +
           (answer.empty() ? "" : R"( "answer_idx": )" + answer + ",") +
           R"( "ts": "0.5-12.25", "vid_name": "s01e01_clip_00", "show_name": "House M.D."})" + "\n";
}
};

TEST_F(VideoTasks, TvqaPromptsAreTheOriginalsToTheLetter) {
    put("video/ann/tvqa/tvqa_val.jsonl", tvqa(5, "3"));
    put("video/ann/tvqa/tvqa_train.jsonl", tvqa(6, "1"));
    const auto task = make("tvqa");
    const Example& example = task->examples().at(0);
    const std::string prompt =
        "[Subs] House: No. (sighs) [Q] What did House say? [TS] (0.5-12.25) [Choices] a0: No. a1: "
        "Yes. a2: Maybe. a3: I. don't know. a4: . tvqa: ";
    EXPECT_EQ(example.prompt, prompt);
    EXPECT_EQ(example.target, "a3");
    EXPECT_EQ(example.media.features, folder_ / "features/tv/s01e01_clip_00.safetensors");
    const auto train = pairs("tvqa");
    ASSERT_EQ(train.size(), 1u);
    EXPECT_EQ(train[0].prompt, prompt);
    EXPECT_EQ(train[0].target, "a1");
    const Request request = task->requests(example).at(0);
    EXPECT_EQ(request.generate.num_beams, 4);
    EXPECT_EQ(request.generate.max_new_tokens, 20);
}

TEST_F(VideoTasks, TvqaScoresTheWholeAnswerAndCountsWhatIsNone) {
    put("video/ann/tvqa/tvqa_val.jsonl", tvqa(5, "3") + tvqa(6, "0") + tvqa(7, "1"));
    const auto task = make("tvqa");
    const auto& examples = task->examples();
    const Score right = answered(*task, examples[0], "a3"), long_ = answered(*task, examples[1], "a0: No."),
                beyond = answered(*task, examples[2], "a7");
    EXPECT_EQ(right.score, 1);
    EXPECT_FALSE(long_.parsed);
    EXPECT_FALSE(beyond.parsed);
    const TaskResult result = task->aggregate(examples, {right, long_, beyond});
    EXPECT_NEAR(result.metrics.at("accuracy").value, 1.0 / 3, 1e-12);
    EXPECT_EQ(result.unparsed, 2);
    EXPECT_NEAR(result.chance, 0.2, 1e-12);
    EXPECT_TRUE(task->submissions(examples, {right, long_, beyond})
                    .empty()); // the validation split goes to no server
}

TEST_F(VideoTasks, TvqaTestWritesValuesSubmission) {
    put("video/ann/tvqa/tvqa_test_release.jsonl", tvqa(5) + tvqa(6) + tvqa(7));
    const auto task = make("tvqa_test");
    const auto& examples = task->examples();
    const std::vector<Score> scores{answered(*task, examples[0], "a3"), answered(*task, examples[1], "yes"),
                                    answered(*task, examples[2], "")};
    const auto files = task->submissions(examples, scores);
    ASSERT_EQ(files.count("tvqa_test_predictions.json"), 1u);
    EXPECT_EQ(files.at("tvqa_test_predictions.json"), R"({"5":3,"6":0,"7":0})");
    const TaskResult result = task->aggregate(examples, scores);
    EXPECT_TRUE(result.metrics.at("accuracy").missing);
}

TEST_F(VideoTasks, How2qaHasFourChoices) {
    put("video/ann/how2qa/how2qa_val_release.jsonl",
        R"({"vid_name": "1000", "ts": "0.00-20.00", "qid": 5000, "q": "What is shown?", "a0": "a pan.", "a1": "a bowl.", "a2": "a knife.", "a3": "a cup.", "answer_idx": 1})");
    const auto task = make("how2qa");
    EXPECT_EQ(task->examples().at(0).prompt, "[Subs] add salt [Q] What is shown? [TS] (0.00-20.00) [Choices] "
                                             "a0: a pan. a1: a bowl. a2: a knife. a3: a "
                                             "cup. how2qa: ");
    EXPECT_EQ(answered(*task, task->examples()[0], "a1").score, 1);
    EXPECT_FALSE(answered(*task, task->examples()[0], "a4").parsed);
}

TEST_F(VideoTasks, TvcPrintsTheSpanAsAList) {
    put("video/ann/tvc/tvc_train_release.jsonl",
        R"({"vid_name": "s01e01_clip_00", "clip_id": 7, "ts": [0, 12.5], "duration": 60, "descs": [{"desc": "House leaves.", "desc_id": 1}, {"desc": "A man walks out.", "desc_id": 2}]})");
    put("video/ann/tvc/tvc_test_release.jsonl",
        R"({"vid_name": "s01e01_clip_01", "clip_id": 8, "ts": [1.0, 20.32], "duration": 60})");
    const auto train = pairs("tvc");
    ASSERT_EQ(train.size(), 2u);
    EXPECT_EQ(train[0].prompt, "[Subs] House: No. (sighs) [TS] ([0, 12.5]) tvc: ");
    EXPECT_EQ(train[1].target, "A man walks out.");
    const auto task = make("tvc_test");
    const auto& examples = task->examples();
    EXPECT_EQ(examples.at(0).prompt, "[Subs]  [TS] ([1.0, 20.32]) tvc: ");
    const auto files = task->submissions(examples, {answered(*task, examples[0], "Some \"text\" here.")});
    EXPECT_EQ(
        files.at("tvc_test_predictions.jsonl"),
        R"({"vid_name":"s01e01_clip_01","clip_id":8,"ts":[1.0,20.32],"descs":[{"desc":"Some \"text\" here."}]})"
        "\n");
}

TEST_F(VideoTasks, Yc2cCaptionsAreScoredAsValueDoes) {
    put("video/ann/yc2c/yc2c_val_release.jsonl",
        R"({"vid_name": "xHr8X2Wpmno_3", "clip_id": 3, "duration": 9, "descs": [{"desc": "sauté the onions", "desc_id": 9}]})");
    put("video/ann/yc2c/yc2c_test_release.jsonl",
        R"({"vid_name": "xHr8X2Wpmno_3", "clip_id": "x3", "duration": 9})");
    const auto task = make("yc2c");
    const auto& examples = task->examples();
    EXPECT_EQ(examples.at(0).prompt, "[Subs] stir it yc2c: ");
    const Score same = answered(*task, examples[0], "saut  the onions");
    const TaskResult result = task->aggregate(examples, {same});
    EXPECT_NEAR(result.metrics.at("bleu_1").value, 1, 1e-6); // the accent is a space on both sides
    EXPECT_EQ(ascii_only("saut\u00e9 \u4e00x"), "saut   x");
    const auto test = make("yc2c_test");
    EXPECT_EQ(test->submissions(test->examples(), {answered(*test, test->examples()[0], "mix")})
                  .at("yc2c_test_predictions.jsonl"),
              "{\"vid_name\":\"xHr8X2Wpmno_3\",\"clip_id\":\"x3\",\"descs\":[{\"desc\":\"mix\"}]}\n");
}

TEST_F(VideoTasks, DamagedRecordsAreNamed) {
    put("video/ann/tvqa/tvqa_val.jsonl", tvqa(5, "3") + tvqa(6, "9"));
    EXPECT_THAT(complaint([&] { make("tvqa")->examples(); }), HasSubstr("tvqa_val.jsonl:record 2"));
    put("video/ann/tvqa/tvqa_val.jsonl", tvqa(5, "3") + tvqa(5, "2"));
    EXPECT_THAT(complaint([&] { make("tvqa")->examples(); }), HasSubstr("stands twice"));
    put("video/ann/tvqa/tvqa_train.jsonl", tvqa(5));
    EXPECT_THAT(complaint([&] { pairs("tvqa"); }), HasSubstr("expected an answer to train on"));
    put("video/ann/tv_subtitles.jsonl", R"({"vid_name": "s01e01_clip_00", "sub": [{"start": 1}]})");
    EXPECT_THAT(complaint([&] { make("tvqa")->examples(); }), HasSubstr("tv_subtitles.jsonl:record 1"));
    std::filesystem::remove(folder_ / "video/ann/tv_subtitles.jsonl");
    EXPECT_THAT(complaint([&] { make("tvqa")->examples(); }), HasSubstr("tv_subtitles.jsonl"));
}

TEST(TimeSpans, ReadAsPythonPrintsThem) {
    EXPECT_EQ(time_span_text(json("0-5.5"), "x"), "0-5.5");
    EXPECT_EQ(time_span_text(json::parse("[0, 5.5]"), "x"), "[0, 5.5]");
    EXPECT_EQ(time_span_text(json::parse("[10.0, 100.25]"), "x"), "[10.0, 100.25]");
    EXPECT_THROW(time_span_text(json(3), "x"), Error);
}

TEST(OptionTexts, EndInOneDot) {
    EXPECT_EQ(option_text("a pan."), "a pan.");
    EXPECT_EQ(option_text(" . a pan ... "), "a pan.");
    EXPECT_EQ(option_text(""), ".");
}

} // namespace
} // namespace dorabench
