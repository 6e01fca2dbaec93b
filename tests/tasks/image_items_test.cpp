// The files of the field that ask about pictures and frames, told apart by their keys.
#include "tasks/image_items.h"
#include "tests/tasks/media_data.h"

namespace dorabench {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kShort = "\nAnswer the question using a single word or phrase.";
const std::string kLetter = "\nAnswer with the option's letter from the given choices directly.";

class ImageItems : public MediaData {
protected:
    std::vector<ImageItem> read(const std::string& task) {
        std::vector<ImageItem> out;
        const TaskSpec spec = read_task_spec(test::source_dir() + "/tasks/specs/llava/" + task + ".yaml");
        for_each_image_item(spec, folder_.path(), [&](ImageItem&& item) {
            out.push_back(std::move(item));
            return true;
        });
        return out;
    }
    std::string refused(const std::string& task) {
        return complaint([&] { read(task); });
    }
};

TEST_F(ImageItems, QuestionLinesAreAskedAsTheyStand) {
    put("eval/vqav2/test2015/1.jpg", "x");
    put("eval/vqav2/llava_vqav2_mscoco_test-dev2015.jsonl",
        json{{"question_id", 262144000},
             {"image", "1.jpg"},
             {"text", "Is it day?" + kShort},
             {"category", "default"}}
                .dump() +
            "\n" + json{{"question_id", 262144001}, {"image", "1.jpg"}, {"text", "Where?"}}.dump() + "\n");
    const auto items = read("vqav2");
    ASSERT_EQ(items.size(), 2u);
    EXPECT_EQ(items[0].id, "262144000");
    EXPECT_EQ(items[0].question, "Is it day?" + kShort);
    EXPECT_EQ(items[1].question, "Where?" + kShort); // the suffix is added where it is not there
    EXPECT_THAT(items[0].images, ElementsAre(folder_ / "eval/vqav2/test2015/1.jpg"));
    EXPECT_EQ(items[0].answer, "");
    EXPECT_TRUE(items[0].humans.empty());
}

TEST_F(ImageItems, OfficialQuestionsFindTheirAnnotationsAndPaddedFileNames) {
    put("coco/val2014/COCO_val2014_000000000042.jpg", "x");
    put("eval/vqav2/v2_OpenEnded_mscoco_val2014_questions.json",
        R"({"questions": [{"question_id": 42000, "image_id": 42, "question": "What is it?"}]})");
    put("eval/vqav2/v2_mscoco_val2014_annotations.json",
        R"({"annotations": [{"question_id": 42000, "image_id": 42, "answer_type": "other", "question_type": "what is",
            "answers": [{"answer": "net", "answer_id": 1}, {"answer": "nets", "answer_id": 2}]}]})");
    const auto items = read("vqav2_val");
    ASSERT_EQ(items.size(), 1u);
    EXPECT_THAT(items[0].humans, ElementsAre("net", "nets"));
    EXPECT_EQ(items[0].fields.at("answer_type"), "other");
    EXPECT_THAT(items[0].images, ElementsAre(folder_ / "coco/val2014/COCO_val2014_000000000042.jpg"));
    put("eval/vqav2/v2_mscoco_val2014_annotations.json", R"({"annotations": []})");
    put("eval/vqav2/v2_OpenEnded_mscoco_val2014_questions.json",
        R"({"questions": [{"question_id": 7, "image_id": 42, "question": "And?"}]})");
    EXPECT_EQ(read("vqav2_val").at(0).humans.size(), 0u); // no annotation at all: hidden
    put("eval/vqav2/v2_mscoco_val2014_annotations.json",
        R"({"annotations": [{"question_id": 42000, "image_id": 42, "answers": []}]})");
    EXPECT_THAT(refused("vqav2_val"),
                AllOf(HasSubstr("question 7"), HasSubstr("v2_mscoco_val2014_annotations")));
}

TEST_F(ImageItems, TextVqaPairsByPictureAndQuestionAndOfficialQuestionsGetTheirTokens) {
    put("eval/textvqa/train_images/a1.jpg", "x");
    const std::string annotations =
        R"({"data": [{"question_id": 5, "image_id": "a1", "question": "What Does it say?", "answers": ["stop", "STOP"]}]})";
    put("eval/textvqa/TextVQA_0.5.1_val.json", annotations);
    put("eval/textvqa/llava_textvqa_val_v051_ocr.jsonl",
        json{{"question_id", "a1"},
             {"image", "a1.jpg"},
             {"text", "what does it SAY?\nReference OCR token: STOP" + kShort}}
                .dump() +
            "\n");
    auto items = read("textvqa");
    ASSERT_EQ(items.size(), 1u);
    EXPECT_THAT(items[0].humans, ElementsAre("stop", "STOP"));
    EXPECT_EQ(items[0].question, "what does it SAY?\nReference OCR token: STOP" + kShort);
    std::filesystem::remove(folder_ / "eval/textvqa/llava_textvqa_val_v051_ocr.jsonl");
    put("eval/textvqa/TextVQA_Rosetta_OCR_v0.2_val.json",
        R"({"data": [{"image_id": "a1", "ocr_tokens": ["STOP", "NOW"]}]})");
    items = read("textvqa");
    EXPECT_EQ(items.at(0).question, "What Does it say?\nReference OCR token: STOP, NOW" + kShort);
}

TEST_F(ImageItems, VizWizHasItsAnswersInTheRecord) {
    put("vizwiz/val/VizWiz_val_00000000.jpg", "x");
    put("vizwiz/val.json",
        R"([{"image": "VizWiz_val_00000000.jpg", "question": "Ok. What is it?", "answer_type": "other",
        "answers": [{"answer": "basil", "answer_confidence": "yes"}, {"answer": "leaves", "answer_confidence": "no"}]}])");
    const auto items = read("vizwiz_val");
    ASSERT_EQ(items.size(), 1u);
    EXPECT_EQ(items[0].id, "VizWiz_val_00000000.jpg");
    EXPECT_EQ(items[0].question,
              "Ok. What is it?\nWhen the provided information is insufficient, respond with "
              "'Unanswerable'." +
                  kShort);
    EXPECT_THAT(items[0].humans, ElementsAre("basil", "leaves"));
}

TEST_F(ImageItems, GqaTakesBalancedQuestionsAlone) {
    put("gqa/images/n5.jpg", "x");
    put("gqa/data/testdev_balanced_questions.json",
        R"({"1": {"imageId": "n5", "question": "Is it red?", "answer": "yes", "isBalanced": true, "types": {"structural": "verify"}},
            "2": {"imageId": "n5", "question": "Is it blue?", "answer": "no", "isBalanced": false, "types": {"structural": "verify"}}})");
    const auto items = read("gqa");
    ASSERT_EQ(items.size(), 1u);
    EXPECT_EQ(items[0].id, "1");
    EXPECT_EQ(items[0].answer, "yes");
    EXPECT_EQ(items[0].fields.at("structural"), "verify");
}

TEST_F(ImageItems, PopeBearsItsLabelsAndItsFilesAreItsCategories) {
    put("pope/val2014/1.jpg", "x");
    const std::string line =
        R"({"question_id": 1, "image": "1.jpg", "text": "Is there a cat in the image?", "label": "no"})";
    for (const char* split : {"random", "popular", "adversarial"})
        put(std::string("pope/coco/coco_pope_") + split + ".json", line + "\n");
    const auto items = read("pope");
    ASSERT_EQ(items.size(), 3u);
    EXPECT_EQ(items[0].id, "random/1"); // the same id in each of the three
    EXPECT_EQ(items[2].fields.at("category"), "adversarial");
    EXPECT_EQ(items[1].answer, "no");
    put("pope/coco/coco_pope_random.json",
        R"({"question_id": 1, "image": "1.jpg", "text": "Is there a cat?", "label": "maybe"})");
    EXPECT_THAT(refused("pope"), AllOf(HasSubstr("yes or no"), HasSubstr("maybe")));
}

TEST_F(ImageItems, ScienceQaWithAndWithoutAPicture) {
    put("scienceqa/images/test/4/image.png", "x");
    put("scienceqa/problems.json",
        R"({"4": {"choices": ["a", "b", "c"], "answer": 2}, "5": {"choices": ["a", "b"], "answer": 0}})");
    put("scienceqa/llava_test_CQM-A.json",
        R"([{"id": "4", "image": "4/image.png", "conversations": [{"from": "human", "value": "<image>\nWhich?\nA. a"}, {"from": "gpt", "value": "C"}]},
            {"id": "5", "conversations": [{"from": "human", "value": "And?\nA. a"}, {"from": "gpt", "value": "A"}]}])");
    const auto items = read("scienceqa");
    ASSERT_EQ(items.size(), 2u);
    EXPECT_EQ(items[0].question, "Which?\nA. a" + kLetter);
    EXPECT_EQ(items[0].answer, "C");
    EXPECT_EQ(items[0].images.size(), 1u);
    EXPECT_TRUE(items[1].images.empty());
    EXPECT_EQ(items[1].options.size(), 2u);
    put("scienceqa/problems.json",
        R"({"4": {"choices": ["a"], "answer": 1}, "5": {"choices": ["a"], "answer": 0}})");
    EXPECT_THAT(refused("scienceqa"), HasSubstr("the index of one of 1 choices expected, got 1"));
}

TEST_F(ImageItems, MmbenchTakesPicturesOutOfItsTableAndByReference) {
    const std::string picture(80, 'A');
    put("mmbench/mmbench_dev_20230712.tsv", "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage\n"
                                            "3\tWhat?\tLook here.\tcup\ttable\t\t\tB\tkinds\t" +
                                                picture +
                                                "\n1000003\tWhat?\tnan\ttable\tcup\tNaN\t\tA\tkinds\t3\n");
    const auto items = read("mmbench");
    ASSERT_EQ(items.size(), 2u);
    EXPECT_EQ(items[0].question, "Look here.\nWhat?\nA. cup\nB. table" + kLetter);
    EXPECT_EQ(items[1].question, "What?\nA. table\nB. cup" + kLetter);
    EXPECT_THAT(items[1].images, ElementsAre("data:image;base64," + picture));
    EXPECT_EQ(items[0].options.size(), 2u);
    EXPECT_EQ(items[1].answer, "A");
    put("mmbench/mmbench_dev_20230712.tsv", "index\tquestion\tA\tanswer\timage\n3\tWhat?\tcup\tA\t99\n");
    EXPECT_THAT(refused("mmbench"), HasSubstr("got \"99\""));
    put("mmbench/mmbench_dev_20230712.tsv",
        "index\tquestion\tA\tanswer\timage\n3\tWhat?\tcup\tC\t" + picture + "\n");
    EXPECT_THAT(refused("mmbench"), HasSubstr("the letter of an option expected, got \"C\""));
}

TEST_F(ImageItems, VideosAreAskedOverEvenlySpreadFrames) {
    put("videos/tv/clip_1.mp4", "x");
    put("ann/tvqa/tvqa_val.jsonl",
        R"({"qid": 9, "vid_name": "clip_1", "ts": "1-2", "q": "Who?", "a0": "Gina", "a1": "Castle", "a2": "c", "a3": "d", "a4": "e", "answer_idx": 1})");
    const auto items = read("tvqa");
    ASSERT_EQ(items.size(), 1u);
    EXPECT_EQ(items[0].question, "Who?\nA. Gina\nB. Castle\nC. c\nD. d\nE. e" + kLetter);
    EXPECT_EQ(items[0].answer, "B");
    ASSERT_EQ(items[0].images.size(), 8u);
    EXPECT_EQ(items[0].images[3], folder_ / "videos/tv/clip_1.mp4#frame=3/8");
}

TEST_F(ImageItems, WhatIsMissingOrTwiceIsNamed) {
    const std::string name = "vqav2/llava_vqav2_mscoco_test-dev2015.jsonl";
    auto line = [](const std::string& id, const std::string& image) {
        return json{{"question_id", id}, {"image", image}, {"text", "What?"}}.dump() + "\n";
    };
    put(name, line("a", "absent.jpg") + line("b", "../secret.jpg") + line("c", "/etc/passwd"));
    put("vqav2/secret.jpg", "x");
    EXPECT_THAT(refused("vqav2"),
                AllOf(HasSubstr("3 are missing"), HasSubstr("absent.jpg"), HasSubstr("../secret.jpg"),
                      HasSubstr("/etc/passwd"), HasSubstr("vqav2/test2015/{image}")));
    put("vqav2/test2015/1.jpg", "x");
    put(name, line("a", "1.jpg") + line("a", "1.jpg"));
    EXPECT_THAT(refused("vqav2"), HasSubstr("the id a stands twice"));
    put(name, "{\"question_id\": 1, \"image\": \"1.jpg\"}\n");
    EXPECT_THAT(refused("vqav2"), AllOf(HasSubstr("question"), HasSubstr(name)));
}

} // namespace
} // namespace dorabench
