// What is asked about pictures, how answers are read and scored, and the files for the benchmarks' servers:
// over small data, and over real files of the field with recorded answers.
#include "backends/io/zip_archive.h"
#include "harness/base/text.h"
#include "tests/tasks/media_data.h"
#include <cmath>
#include <map>

namespace dorabench {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::string kFrame =
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. USER: ";
const std::string kShort = "\nAnswer the question using a single word or phrase.";

class ImageTaskTest : public MediaData {
protected:
    void picture(const std::string& name) {
        if (!std::filesystem::exists(folder_ / name)) put(name, "x");
    }
    struct Outcome {
        std::vector<Example> examples;
        std::vector<Score> scores;
        TaskResult result;
        std::map<std::string, std::string> files;
    };
    // Every example answered by say(); nothing is decoded, so a picture's file need only be there.
    Outcome run(const std::string& name, const std::function<std::string(const Example&)>& say) {
        auto task = make(name);
        Outcome out;
        out.examples = task->examples();
        for (const Example& example : out.examples)
            out.scores.push_back(answered(*task, example, say(example)));
        out.result = task->aggregate(out.examples, out.scores);
        out.files = task->submissions(out.examples, out.scores);
        return out;
    }
    static json shared(const std::string& name) {
        return json::parse(read_file(test::shared_dir() + "/data/" + name));
    }
    static std::vector<json> shared_lines(const std::string& name) {
        std::vector<json> out;
        for_each_line(test::shared_dir() + "/data/" + name,
                      [&](size_t, std::string_view line) { out.push_back(json::parse(line)); });
        return out;
    }
};

TEST_F(ImageTaskTest, ThePicturesStandInFrontOfTheQuestionInTheFirstTurn) {
    picture("vqav2/test2015/1.jpg");
    put("vqav2/llava_vqav2_mscoco_test-dev2015.jsonl",
        json{{"question_id", 1}, {"image", "1.jpg"}, {"text", "Is it day?" + kShort}}.dump() + "\n");
    auto task = make("llava/vqav2");
    const Example& example = task->examples().at(0);
    EXPECT_EQ(example.prompt, kFrame + "<image>\nIs it day?" + kShort + " ASSISTANT:");
    const Request request = task->requests(example).at(0);
    EXPECT_EQ(request.context, example.prompt);
    EXPECT_EQ(request.generate.num_beams, 1);
    EXPECT_EQ(request.generate.max_new_tokens, 128);
    EXPECT_EQ(request.generate.temperature, 0);
    EXPECT_THAT(request.media.images, ElementsAre(folder_ / "vqav2/test2015/1.jpg"));
}

TEST_F(ImageTaskTest, WhatTheKindDoesNotHaveIsRefusedByName) {
    TaskOptions wrong = options();
    wrong.mode = "loglikelihood";
    EXPECT_THAT(complaint([&] { catalog().make("llava/gqa", wrong); }, ErrorKind::config),
                HasSubstr("generate"));
    wrong = options(), wrong.num_fewshot = 2;
    EXPECT_THAT(complaint([&] { catalog().make("llava/gqa", wrong); }, ErrorKind::config),
                HasSubstr("few-shot"));
    wrong = options(), wrong.template_name = "alpaca";
    EXPECT_THAT(complaint([&] { catalog().make("llava/gqa", wrong); }, ErrorKind::config),
                HasSubstr("chat template"));
}

TEST_F(ImageTaskTest, HiddenAnswersGiveNoScoreButTheServersFile) {
    picture("vqav2/test2015/1.jpg");
    put("vqav2/llava_vqav2_mscoco_test-dev2015.jsonl",
        R"({"question_id": 7, "image": "1.jpg", "text": "How many?"})"
        "\n"
        R"({"question_id": 8, "image": "1.jpg", "text": "Whose?"})"
        "\n");
    put("vqav2/llava_vqav2_mscoco_test2015.jsonl",
        "{\"question_id\": 7}\n{\"question_id\": 9}\n{\"question_id\": 8}\n");
    const Outcome vqa =
        run("llava/vqav2", [](const Example& e) { return e.id == "7" ? " The two. " : "a Dog's,"; });
    EXPECT_TRUE(vqa.result.metrics.at("accuracy").missing);
    EXPECT_EQ(
        vqa.files.at("vqav2_answers.json"),
        R"([{"question_id":7,"answer":"2"},{"question_id":8,"answer":"dog 's"},{"question_id":9,"answer":""}])");
    picture("vizwiz/test/VizWiz_test_00000001.jpg");
    put("vizwiz/llava_test.jsonl",
        R"({"question_id": 0, "image": "VizWiz_test_00000001.jpg", "text": "Hm?"})");
    const Outcome vizwiz = run("llava/vizwiz", [](const Example&) { return "Unanswerable."; });
    EXPECT_EQ(vizwiz.files.at("vizwiz_answers.json"),
              R"([{"image":"VizWiz_test_00000001.jpg","answer":"unanswerable"}])");
}

TEST_F(ImageTaskTest, MmbenchIsRightWhereEveryRotationIsAndItsSheetIsTheServers) {
    const std::string image(80, 'A');
    std::string table = "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage\tsplit\n";
    auto row = [&](int64_t index, const std::string& a, const std::string& b, const std::string& right) {
        table += std::to_string(index) + "\t\"say \"\"it\"\"\"\tSee.\t" + a + "\t" + b + "\t\t\t" + right +
                 "\tkinds\t" + image + "\tdev\n";
    };
    row(1, "cup", "table", "A"), row(1000001, "table", "cup", "B"), row(2, "red", "blue", "B"),
        row(1000002, "blue", "red", "A");
    put("mmbench/mmbench_dev_20230712.tsv", table);
    // question 1 is right both times, question 2 in its first form alone
    const std::map<std::string, std::string> said{
        {"1", "A"}, {"1000001", "The answer is B."}, {"2", "blue"}, {"1000002", "B"}};
    const Outcome got = run("llava/mmbench", [&](const Example& e) { return said.at(e.id); });
    EXPECT_DOUBLE_EQ(got.result.metrics.at("circular").value, 0.5);
    EXPECT_DOUBLE_EQ(got.result.metrics.at("vanilla").value, 1.0);
    const std::string& book = got.files.at("mmbench_answers.xlsx");
    std::string sheet, text;
    for (const ZipEntry& entry : zip_entries(book, "the sheet")) {
        if (entry.name == "xl/worksheets/sheet1.xml") sheet = zip_content(book, entry, "the sheet");
        if (entry.name == "xl/sharedStrings.xml") text = zip_content(book, entry, "the sheet");
    }
    std::string columns;
    for (const char* name : {"index", "question", "A", "B", "C", "D", "prediction", "answer", "split"})
        columns += std::string("<si><t>") + name + "</t></si>";
    EXPECT_THAT(text, HasSubstr(columns)); // in this order, the picture and the hint left out
    EXPECT_THAT(text, Not(HasSubstr("AAAA")));
    EXPECT_THAT(text, HasSubstr("say \"it\""));
    EXPECT_THAT(text, HasSubstr("The answer is B."));
    EXPECT_THAT(sheet, HasSubstr("<c r=\"A3\"><v>1000001</v></c>"));
}

// From here on: files of ../shared/data in the benchmarks' formats, answers recorded with them, and what the
// benchmarks' own scripts make of both.

TEST_F(ImageTaskTest, PopeOverItsOwnFiles) {
    DORABENCH_NEEDS_SHARED();
    std::map<std::string, std::string> said;
    for (const char* split : {"random", "popular", "adversarial"}) {
        const std::string name = cat("pope/coco_pope_", split, ".jsonl");
        put(name, read_file(test::shared_dir() + "/data/" + name));
        for (const json& one : shared_lines(name)) picture("coco/val2014/" + one["image"].get<std::string>());
        for (const json& one : shared_lines(cat("pope/answers_", split, ".jsonl")))
            said[cat(split, "/", one["question_id"].get<int64_t>())] = one["answer"];
    }
    const Outcome got = run("llava/pope", [&](const Example& e) { return said.at(e.id); });
    const json expected = shared("pope/expected.json");
    double f1 = 0;
    for (const char* split : {"random", "popular", "adversarial"}) {
        for (const char* value : {"accuracy", "precision", "recall", "f1", "yes_ratio"})
            EXPECT_NEAR(got.result.metrics.at(cat(split, ".", value)).value, expected[split][value], 1e-12)
                << split << value;
        f1 += expected[split]["f1"].get<double>() / 3;
    }
    EXPECT_NEAR(got.result.metrics.at("f1").value, f1, 1e-12);
    EXPECT_EQ(got.examples[0].prompt,
              kFrame + "<image>\nIs there a snowboard in the image?" + kShort + " ASSISTANT:");
}

TEST_F(ImageTaskTest, GqaOverFilesInItsFormat) {
    DORABENCH_NEEDS_SHARED();
    put("gqa/data/testdev_balanced_questions.json",
        read_file(test::shared_dir() + "/data/made_up/gqa/questions.json"));
    const json questions = shared("made_up/gqa/questions.json");
    for (const auto& one : questions) picture("gqa/images/" + one["imageId"].get<std::string>() + ".jpg");
    std::map<std::string, std::string> said;
    for (const json& one : shared_lines("made_up/gqa/raw_outputs.jsonl"))
        said[one["question_id"]] = one["text"];
    const Outcome got = run("llava/gqa", [&](const Example& e) { return said.at(e.id); });
    const json expected = shared("made_up/gqa/expected.json");
    EXPECT_EQ(got.result.n, expected["balanced"].get<int64_t>());
    for (const char* value : {"accuracy", "binary", "open"})
        EXPECT_NEAR(100 * got.result.metrics.at(value).value, expected[value], 1e-9) << value;
    EXPECT_EQ(got.examples[0].prompt, kFrame + "<image>\n" +
                                          questions[got.examples[0].id]["question"].get<std::string>() +
                                          kShort + " ASSISTANT:");
}

TEST_F(ImageTaskTest, MmbenchOverATableInItsFormat) {
    DORABENCH_NEEDS_SHARED();
    // the table of ../shared has answers and no pictures; a column of pictures is put behind
    std::string table;
    std::map<std::string, std::string> said;
    const std::string path = test::shared_dir() + "/data/made_up/mmbench/mmbench_dev.tsv";
    for_each_line(path, [&](size_t number, std::string_view line) {
        const std::vector<std::string> cells = split(std::string(line), '\t');
        table += std::string(line) + "\t" + (number == 1 ? "image" : std::string(80, 'A')) + "\n";
        if (number > 1) said[cells.at(0)] = cells.size() > 11 ? cells[11] : "";
    });
    put("mmbench/mmbench_dev.tsv", table);
    const Outcome got = run("llava/mmbench", [&](const Example& e) { return said.at(e.id); });
    const json expected = shared("made_up/mmbench/expected.json");
    EXPECT_EQ(got.result.n, expected["rows"].get<int64_t>());
    EXPECT_NEAR(got.result.metrics.at("circular").value, expected["circular_accuracy"], 1e-12);
    EXPECT_NEAR(got.result.metrics.at("vanilla").value, expected["vanilla_accuracy"], 1e-12);
    EXPECT_EQ(got.examples[0].prompt,
              kFrame + "<image>\nWhat is in picture 0?\nA. black cat 0\nB. red ball 0\nC. green tree 0\n"
                       "Answer with the option's letter from the given choices directly. ASSISTANT:");
    EXPECT_TRUE(looks_like_zip(got.files.at("mmbench_answers.xlsx")));
}

// TextVQA's and VizWiz's real questions and answers (in VQA's format there), through the files of each
// benchmark.
TEST_F(ImageTaskTest, TextVqaAndVizWizOverTheirQuestionsAndHumans) {
    DORABENCH_NEEDS_SHARED();
    for (const std::string set : {"textvqa", "vizwiz"}) {
        SCOPED_TRACE(set);
        const json questions = shared("vqa/" + set + "/questions.json"),
                   annotations = shared("vqa/" + set + "/annotations.json");
        std::map<int64_t, json> humans;
        for (const json& one : annotations["annotations"]) humans[one["question_id"]] = one["answers"];
        json records = json::array();
        std::map<std::string, std::string> said, of_picture;
        for (const json& one : shared("vqa/" + set + "/results.json"))
            said[std::to_string(one["question_id"].get<int64_t>())] = one["answer"];
        for (const json& one : questions["questions"]) {
            const int64_t id = one["question_id"];
            const std::string image = one["image_id"];
            if (set == "textvqa") {
                json answers = json::array();
                for (const json& human : humans.at(id)) answers.push_back(human["answer"]);
                records.push_back({{"question_id", id},
                                   {"image_id", image},
                                   {"question", one["question"]},
                                   {"answers", answers}});
                picture("textvqa/train_images/" + image + ".jpg");
            } else {
                records.push_back(
                    {{"image", image}, {"question", one["question"]}, {"answers", humans.at(id)}});
                of_picture[image] = said.at(std::to_string(id));
                picture("vizwiz/val/" + image);
            }
        }
        put(set == "textvqa" ? "textvqa/TextVQA_0.5.1_val.json" : "vizwiz/val.json",
            (set == "textvqa" ? json{{"data", records}} : records).dump());
        const Outcome got =
            run(set == "textvqa" ? "llava/textvqa" : "llava/vizwiz_val",
                [&](const Example& e) { return set == "textvqa" ? said.at(e.id) : of_picture.at(e.id); });
        const json expected = shared("vqa/" + set + "/expected.json");
        EXPECT_EQ(got.result.n, 2000);
        EXPECT_NEAR(100 * got.result.metrics.at("accuracy").value,
                    expected["expected_percent"]["overall"]["textvqa_m4c"], 1e-9);
        size_t wrong = 0;
        for (size_t i = 0; i < got.examples.size(); ++i) {
            const std::string id = std::to_string(questions["questions"][i]["question_id"].get<int64_t>());
            wrong += std::abs(got.scores[i].score -
                              expected["per_question"][id]["textvqa_m4c"].get<double>()) > 1e-9;
        }
        EXPECT_EQ(wrong, 0u);
        EXPECT_THAT(got.examples[0].prompt,
                    HasSubstr("<image>\n" + questions["questions"][0]["question"].get<std::string>()));
    }
}

TEST_F(ImageTaskTest, VqaOverQuestionsAndHumansInItsFormat) {
    DORABENCH_NEEDS_SHARED();
    for (const std::string name : {"questions", "annotations"})
        put(name == "questions" ? "vqav2/v2_OpenEnded_mscoco_val2014_questions.json"
                                : "vqav2/v2_mscoco_val2014_annotations.json",
            read_file(test::shared_dir() + "/data/vqa/textvqa/" + name + ".json"));
    std::map<std::string, std::string> said;
    for (const json& one : shared("vqa/textvqa/results.json"))
        said[std::to_string(one["question_id"].get<int64_t>())] = one["answer"];
    const json questions = shared("vqa/textvqa/questions.json");
    for (const json& one : questions["questions"])
        picture("vqav2/val2014/COCO_val2014_" + one["image_id"].get<std::string>() + ".jpg");
    const Outcome got = run("llava/vqav2_val", [&](const Example& e) { return said.at(e.id); });
    EXPECT_NEAR(100 * got.result.metrics.at("accuracy").value,
                shared("vqa/textvqa/expected.json")["expected_percent"]["overall"]["vqa"], 1e-9);
}

TEST_F(ImageTaskTest, ScienceQaReadsTheLettersOfRealOutputs) {
    DORABENCH_NEEDS_SHARED();
    json lines = json::array(), problems = json::object();
    std::map<std::string, std::string> said, parsed;
    const json recorded = shared("scienceqa/llava_13b_v0_answer_extraction.json");
    for (const json& one : recorded["cases"]) {
        const std::string id = one["question_id"];
        said[id] = one["text"];
        parsed[id] = one["parsed"].is_string() ? one["parsed"].get<std::string>() : "";
        lines.push_back({{"id", id}, {"conversations", {{{"from", "human"}, {"value", "Which?"}}}}});
        problems[id] = {{"choices", {"a", "b", "c", "d", "e"}}, {"answer", 1}};
    }
    put("scienceqa/llava_test_CQM-A.json", lines.dump());
    put("scienceqa/problems.json", problems.dump());
    const Outcome got = run("llava/scienceqa", [&](const Example& e) { return said.at(e.id); });
    ASSERT_EQ(got.result.n, 4241);
    size_t wrong = 0, b = 0;
    for (size_t i = 0; i < got.examples.size(); ++i) {
        wrong += got.scores[i].prediction != parsed.at(got.examples[i].id);
        b += parsed.at(got.examples[i].id) == "B";
    }
    EXPECT_EQ(wrong, 0u);
    EXPECT_NEAR(got.result.metrics.at("accuracy").value, static_cast<double>(b) / 4241, 1e-12);
    EXPECT_TRUE(got.result.metrics.at("image_accuracy").missing); // none of them has a picture here
}

TEST_F(ImageTaskTest, VideoQuestionsOverTheirOwnLines) {
    DORABENCH_NEEDS_SHARED();
    std::string lines;
    const json solution = shared("tvqa/solution.json")["solution"];
    for (json one : shared_lines("tvqa/questions.jsonl")) {
        one["answer_idx"] =
            solution[one["show_name"].get<std::string>()][std::to_string(one["qid"].get<int64_t>())];
        lines += one.dump() + "\n";
        picture("videos/tv/" + one["vid_name"].get<std::string>() + ".mp4");
    }
    put("ann/tvqa/tvqa_val.jsonl", lines);
    const json predicted = shared("tvqa/predictions.json");
    const Outcome tvqa = run("llava/tvqa", [&](const Example& e) {
        return std::string(1, static_cast<char>('A' + predicted[e.id].get<int>()));
    });
    EXPECT_EQ(tvqa.result.n, 360);
    EXPECT_DOUBLE_EQ(tvqa.result.metrics.at("accuracy").value, 0.75);
    EXPECT_NEAR(tvqa.result.chance, 0.2, 1e-9);
    EXPECT_EQ(tvqa.examples[0].media.images.size(), 8u);
    std::string how2qa;
    for (const json& one : shared_lines("made_up/how2qa/val_release.jsonl")) {
        how2qa += one.dump() + "\n";
        picture("videos/how2/" + one["vid_name"].get<std::string>() + ".mp4");
    }
    put("ann/how2qa/how2qa_val.jsonl", how2qa);
    const json chosen = shared("made_up/how2qa/predictions.json");
    const Outcome got = run("llava/how2qa", [&](const Example& e) {
        return std::string(1, static_cast<char>('A' + chosen[e.id].get<int>()));
    });
    EXPECT_NEAR(got.result.metrics.at("accuracy").value, 0.715, 1e-12);
}

} // namespace
} // namespace dorabench
