#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tasks/records.h"
#include "tasks/training_data.h"
#include "tests/support/paths.h"
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <zlib.h>

namespace dorabench {
namespace {

class TrainingFile : public testing::Test {
protected:
    std::vector<TrainingPair> read(const std::string& content, const std::string& name = "data.json",
                                   const TrainingTemplates& templates = {}) {
        write_file_atomic(folder_ / name, content);
        return read_training_file(folder_ / name, templates);
    }
    std::string complaint(const std::string& content, const TrainingTemplates& templates = {}) {
        try {
            read(content, "bad.json", templates);
        } catch (const Error& error) {
            kind_ = error.kind();
            std::string what = error.what();
            size_t at = what.find("bad.json");
            return at == std::string::npos ? what : what.substr(at);
        }
        return "no complaint";
    }
    test::TempDir folder_;
    ErrorKind kind_ = ErrorKind::internal;
};

TEST_F(TrainingFile, ReadsInstructionsFromAnArray) {
    auto pairs = read(
        R"([{"instruction":"Say hi","input":"","output":"hi"},{"instruction":"Add","input":"1 2","output":"3"}])",
        "a.json", {"llm_adapters", ""});
    ASSERT_EQ(pairs.size(), 2u);
    EXPECT_EQ(pairs[0].prompt,
              find_template("llm_adapters_train").prompt("Say hi", "", PromptForm::training));
    EXPECT_EQ(pairs[0].target, "hi");
    EXPECT_NE(pairs[1].prompt.find("### Input:\n                1 2\n"), std::string::npos);
    EXPECT_EQ(pairs[1].id, "1");
    EXPECT_TRUE(pairs[1].source.ends_with("a.json:record 2"));
}

TEST_F(TrainingFile, RendersInstructionsAsAlpacaUnlessToldOtherwise) {
    auto pairs = read(R"({"instruction":"Say hi","output":"hi"})");
    EXPECT_EQ(pairs.at(0).prompt, find_template("alpaca").prompt("Say hi", "", PromptForm::training));
}

TEST_F(TrainingFile, ReadsLinesWithAByteOrderMarkBlankLinesAndCarriageReturns) {
    auto pairs = read("\xEF\xBB\xBF{\"prompt\":\"a\",\"completion\":\" b\"}\r\n\n  "
                      "\n{\"prompt\":\"c\",\"completion\":\" d\",\"id\":\"x\"}\n");
    ASSERT_EQ(pairs.size(), 2u);
    EXPECT_EQ(pairs[0].prompt + pairs[0].target, "a b");
    EXPECT_EQ(pairs[1].id, "x");
}

TEST_F(TrainingFile, ReadsObjectsOverSeveralLines) {
    auto pairs = read("{\n \"prompt\": \"a}\\\"\",\n \"completion\": \"b\"\n}\n{\n \"prompt\": \"c\",\n "
                      "\"completion\": \"d\"\n}\n");
    ASSERT_EQ(pairs.size(), 2u);
    EXPECT_EQ(pairs[0].prompt, "a}\"");
}

TEST_F(TrainingFile, ReadsGzippedFiles) {
    std::string path = folder_ / "z.jsonl.gz", content = "{\"prompt\":\"a\",\"completion\":\"b\"}\n";
    gzFile file = gzopen(path.c_str(), "wb");
    gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
    gzclose(file);
    EXPECT_EQ(read_training_file(path, {}).size(), 1u);
    std::string half = read_file(path); // still gunzipped: cut the raw bytes instead
    FILE* raw = fopen(path.c_str(), "rb+");
    ASSERT_EQ(ftruncate(fileno(raw), 20), 0);
    fclose(raw);
    EXPECT_THROW(read_training_file(path, {}), Error);
}

TEST_F(TrainingFile, TeachesAConversationsLastAnswer) {
    auto pairs = read(
        R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":"q1"},{"role":"assistant","content":"a1"},
        {"role":"user","content":"q2"},{"role":"assistant","content":"a2"},{"role":"user","content":"left unanswered"}]})",
        "m.jsonl", {"llama3", ""});
    ASSERT_EQ(pairs.size(), 1u);
    EXPECT_EQ(pairs[0].prompt, find_template("llama3").chat(
                                   {{"system", "S"}, {"user", "q1"}, {"assistant", "a1"}, {"user", "q2"}}));
    EXPECT_EQ(pairs[0].target, "a2<|eot_id|>");
}

TEST_F(TrainingFile, RendersOneQuestionByAnInstructionTemplate) {
    std::string one = R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})";
    EXPECT_EQ(read(one, "m.json", {"alpaca", ""}).at(0).prompt,
              find_template("alpaca").prompt("q", "", PromptForm::training));
    EXPECT_EQ(read(one, "m.json").at(0).prompt, "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n");
    std::string two =
        R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})";
    EXPECT_NE(complaint(two, {"alpaca", ""}).find("choose a chat template"), std::string::npos);
    EXPECT_EQ(kind_, ErrorKind::config);
}

TEST_F(TrainingFile, TakesReadyMadeIds) {
    auto pairs = read("{\"input_ids\":[1,5,6],\"labels\":[-100,5,6]}\n{\"input_ids\":[1,2]}\n");
    EXPECT_EQ(pairs.at(0).labels, (Ids{-100, 5, 6}));
    EXPECT_EQ(pairs.at(1).labels, (Ids{1, 2}));
    EXPECT_TRUE(pairs[1].prompt.empty());
}

TEST_F(TrainingFile, TakesFeaturesAndWeightsBesideTheText) {
    auto pairs = read(
        R"({"prompt":"vqa: what?","completion":"dog","features":"f/1.safetensors","n_images":2,"weight":0.3}
{"prompt":"caption: ","completion":"a dog","features":"/abs/2.safetensors","loss_mean":"tokens"}
{"prompt":"q","completion":"a","weight":null})");
    EXPECT_EQ(pairs.at(0).media.features, folder_ / "f/1.safetensors"); // from the data file's folder
    EXPECT_EQ(pairs[0].media.n_images, 2);
    EXPECT_EQ(pairs[0].weight, 0.3);
    EXPECT_EQ(pairs[0].loss_mean, LossMean::automatic);
    EXPECT_EQ(pairs.at(1).media.features, "/abs/2.safetensors");
    EXPECT_EQ(pairs[1].loss_mean, LossMean::tokens);
    EXPECT_TRUE(pairs.at(2).media.empty());
    EXPECT_EQ(pairs[2].weight, 1);
    const std::string start = R"({"prompt":"q","completion":"a",)";
    EXPECT_EQ(complaint(start + R"("weight":-1})"),
              "bad.json:record 1: weight: expected a number of at least 0, got -1");
    EXPECT_NE(complaint(start + R"("weight":"1"})").find("weight: expected a number"), std::string::npos);
    EXPECT_NE(complaint(start + R"("n_images":0})").find("n_images: expected an integer"), std::string::npos);
    EXPECT_NE(complaint(start + R"("loss_mean":"sum"})").find("expected tokens or example"),
              std::string::npos);
    EXPECT_NE(complaint(start + R"("features":3})").find("features: expected a string"), std::string::npos);
}

TEST_F(TrainingFile, NamesFileAndRecordOfWhatIsWrong) {
    EXPECT_EQ(complaint(R"([{"instruction":"a","output":"b"},{"instruction":"a","ouput":"b"}])"),
              "bad.json:record 2: no key \"output\"; did you mean \"ouput\"?");
    EXPECT_EQ(kind_, ErrorKind::data);
    EXPECT_EQ(complaint(R"([{"instruction":3,"output":"b"}])"),
              "bad.json:record 1: instruction: expected a string, got a number");
    EXPECT_EQ(complaint(R"([{"text":"b"}])"),
              "bad.json:record 1: expected instruction and output, prompt and completion, "
              "messages, conversations, or input_ids; got the keys text");
    EXPECT_EQ(complaint(R"({"input_ids":[1,-2]})"),
              "bad.json:record 1: input_ids[1]: expected a token id of at least 0, got -2");
    EXPECT_EQ(complaint(R"({"input_ids":[1,2],"labels":[1]})"),
              "bad.json:record 1: labels: expected as many as there are input_ids (2), got 1");
    EXPECT_NE(complaint(R"({"input_ids":[1.5]})").find("input_ids[0]: expected a token id"),
              std::string::npos);
    EXPECT_NE(complaint(R"({"input_ids":[99999999999999999999999]})").find("record 1"), std::string::npos);
    EXPECT_NE(complaint(R"({"messages":[{"role":"tool","content":"a"}]})")
                  .find("role: expected system, user or assistant"),
              std::string::npos);
    EXPECT_NE(
        complaint(R"({"messages":[{"role":"user","content":"a"}]})").find("expected an assistant's turn"),
        std::string::npos);
    EXPECT_NE(
        complaint(
            R"({"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"}]})")
            .find("record 1: chat template chatml: expected a turn of the assistant"),
        std::string::npos);
}

TEST_F(TrainingFile, RefusesDamagedJsonWithItsRecord) {
    EXPECT_EQ(complaint(""), "bad.json: expected records, got an empty file");
    EXPECT_EQ(complaint("[]"), "bad.json: expected records, got an empty array");
    EXPECT_NE(complaint("[{\"prompt\":\"a\",\"completion\":\"b\"},{\"prompt\":\"a\",")
                  .find("record 2: the file ends inside"),
              std::string::npos);
    EXPECT_NE(complaint("[{\"prompt\":\"a\",\"completion\":\"b\"}").find("without ]"), std::string::npos);
    EXPECT_NE(complaint("[{\"prompt\":\"a\",\"completion\":\"b\"}] x").find("nothing behind"),
              std::string::npos);
    EXPECT_NE(complaint("{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\"\n{\"prompt\":\"a\","
                        "\"completion\":\"b\"}\n")
                  .find("record 2: expected a JSON object"),
              std::string::npos);
    EXPECT_NE(complaint("[1,2]").find("record 1: expected a JSON object, got a number"), std::string::npos);
    EXPECT_NE(complaint("[,]").find("record 1"), std::string::npos);
    EXPECT_NE(complaint("{\"prompt\":\"\xff\",\"completion\":\"b\"}").find("record 1"), std::string::npos);
    EXPECT_NE(complaint("plain text").find("begins with \"plain text\""), std::string::npos);
    EXPECT_NE(complaint("[" + std::string(100000, '[')).find("nested deeper than 64"), std::string::npos);
    EXPECT_NE(complaint("{\"a\":" + std::string(100000, '[')).find("nested deeper than 64"),
              std::string::npos);
}

TEST_F(TrainingFile, ReadsWhatTheFieldPublishes) {
    DORABENCH_NEEDS_SHARED();
    std::string data = test::shared_dir() + "/data/";
    EXPECT_EQ(
        read_training_file(data + "instructions/dolly_hhrlhf_1000_alpaca_format.json", {"alpaca", ""}).size(),
        1000u);
    auto seeds = read_training_file(data + "instructions/self_instruct_seed_tasks.jsonl", {});
    EXPECT_EQ(seeds.size(), 175u);
    EXPECT_EQ(seeds[0].id, "seed_task_0");
    auto mix =
        read_training_file(data + "commonsense/train/commonsense_mix_15k.json.gz", {"llm_adapters", ""});
    ASSERT_EQ(mix.size(), 15000u);
    for (const TrainingPair& pair : mix)
        ASSERT_TRUE(pair.target.starts_with("the correct answer is ")) << pair.source;
}

// LLaVA's conversations against tests/golden/llava (an independent implementation of the same rules).
class Conversations : public testing::Test {
protected:
    std::string put(const std::string& name, const std::string& content) {
        write_file_atomic(folder / name, content);
        return folder / name;
    }
    test::TempDir folder;
};

TEST_F(Conversations, EveryAnswerIsATargetAndImagesStandInFront) {
    put("a.png", ""), put("b.png", "");
    const std::string file = put("mix.json", read_file(test::golden("llava/conversations.json")));
    const auto expected = nlohmann::json::parse(read_file(test::golden("llava/expected.json")));
    const auto pairs = read_training_file(file, {});
    ASSERT_EQ(pairs.size() * 2, expected.size()); // two lengths each
    for (size_t i = 0; i < pairs.size(); ++i) {
        EXPECT_EQ(pairs[i].id, expected[2 * i]["id"]);
        const auto& pieces = expected[2 * i]["pieces"];
        ASSERT_EQ(pairs[i].pieces.size(), pieces.size()) << pairs[i].id;
        for (size_t k = 0; k < pieces.size(); ++k) {
            EXPECT_EQ(pairs[i].pieces[k].text, pieces[k][0]) << pairs[i].id;
            EXPECT_EQ(pairs[i].pieces[k].target, pieces[k][1]) << pairs[i].id;
            EXPECT_EQ(pairs[i].pieces[k].mark, pieces[k][2]) << pairs[i].id;
        }
        EXPECT_EQ(pairs[i].media.images.size(), expected[2 * i]["images"].get<size_t>());
    }
    EXPECT_EQ(pairs[0].media.images[0], folder / "a.png");
}

TEST_F(Conversations, ImagesAreLookedForBelowTheDataFolderTooAndMissingOnesAreNamed) {
    test::TempDir other;
    write_file_atomic(other / "c.png", "");
    const std::string file = put("one.json", R"([{"id": 1, "image": "c.png", "conversations": [
        {"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "a cup"}]}])");
    EXPECT_EQ(read_training_file(file, {"", "", other.path()}).at(0).media.images.at(0), other / "c.png");
    try {
        read_training_file(file, {});
        ADD_FAILURE() << "a missing image was accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        EXPECT_THAT(error.what(), testing::HasSubstr("record 1: c.png"));
    }
}

TEST_F(Conversations, AnImageAmongReadyMadeIdsIsNoTarget) {
    put("a.png", "");
    const auto pairs =
        read_training_file(put("ids.jsonl", R"({"image": "a.png", "input_ids": [1, -200, 7, 2]})"), {});
    EXPECT_EQ(pairs.at(0).input_ids, (Ids{1, -200, 7, 2}));
    EXPECT_EQ(pairs.at(0).labels, (Ids{1, -100, 7, 2}));
    EXPECT_THROW(read_training_file(put("bare.jsonl", R"({"input_ids": [1, -200, 7]})"), {}), Error);
}

TEST_F(Conversations, UnansweredEndsAndForeignSpeakersAreMet) {
    const auto pairs = read_training_file(put("x.json", R"([{"conversations": [
        {"from": "human", "value": "one?"}, {"from": "gpt", "value": "1"}, {"from": "human", "value": "two?"}]},
        {"conversations": [{"from": "human", "value": "nobody answers"}]}])"),
                                          {});
    ASSERT_EQ(pairs.size(), 2u);
    EXPECT_EQ(pairs[0].pieces.size(), 2u);
    for (const TextPiece& piece : pairs[1].pieces) EXPECT_FALSE(piece.target);
    EXPECT_THROW(
        read_training_file(put("y.json", R"([{"conversations": [{"from": "robot", "value": "x"}]}])"), {}),
        Error);
}

} // namespace
} // namespace dorabench
