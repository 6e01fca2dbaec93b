// scenes: what the media quickstart is made of goes the whole way that its configs name.
#include "backends/llava/backend.h"
#include "backends/media/media.h"
#include "backends/vlbart/vlbart.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "tasks/catalog.h"
#include "tasks/scenes.h"
#include "tasks/training_data.h"
#include "tests/support/paths.h"
#include <algorithm>
#include <filesystem>
#include <gmock/gmock.h>
#include <set>

namespace dorabench {
namespace {

void make_scenes(const std::string& folder) {
    ScenesOptions options;
    options.to = folder, options.scenes = 6, options.clips = 4;
    testing::internal::CaptureStdout();
    const int code = scenes_command(options, {});
    testing::internal::GetCapturedStdout();
    ASSERT_EQ(code, 0);
}

TaskCatalog catalog() { return TaskCatalog(test::source_dir() + "/tasks/specs"); }

const std::vector<std::string> kTasks{"quickstart/scenes_before", "quickstart/scenes",
                                      "quickstart/clips_before",  "quickstart/clips",
                                      "quickstart/statements",    "quickstart/captions"};

class Scenes : public testing::Test {
protected:
    void SetUp() override {
        std::string why;
        if (!media_available(&why)) GTEST_SKIP() << why;
        make_scenes(data_.path());
        FeaturesOptions options; // of the quickstart's own file
        options.config = data_ / "media_base.yaml";
        write_file_atomic(options.config,
                          replace_all(read_file(test::source_dir() + "/configs/quickstart/media_base.yaml"),
                                      "results/quickstart/media", data_.path()));
        testing::internal::CaptureStdout();
        const int code = features_command(options, {});
        testing::internal::GetCapturedStdout();
        ASSERT_EQ(code, 0);
    }
    test::TempDir data_;
};

TEST_F(Scenes, GoTheWholeWayToTheLossAndToAnswers) {
    BackendSettings settings;
    settings.type = "vlbart", settings.shape = "quickstart", settings.device = "cpu";
    settings.tokenizer = data_ / "tokenizer";
    VlbartBackend backend(settings, 1);
    TaskOptions options;
    options.data_dir = data_.path();
    for (const std::string& name : kTasks) {
        SCOPED_TRACE(name);
        std::vector<EncodedExample> batch;
        for (const TrainingPair& pair : catalog().training_pairs(name, options)) {
            batch.push_back(backend.encode(pair, {100, false}));
            EXPECT_FALSE(batch.back().lost_target);
            EXPECT_EQ(batch.back().cut_tokens, 0) << pair.prompt;
            EXPECT_EQ(
                batch.back().input_ids.size(), // words, and signs that stand at one: no word falls to bytes
                backend.tokenizer()->encode(pair.prompt, true).size());
        }
        EXPECT_GT(backend.loss_sum(batch).item<float>(), 0);
        auto task = catalog().make(name, options);
        const auto& examples = task->examples();
        std::vector<Request> requests = task->requests(examples.at(0));
        size_t answers = 0;
        backend.respond(requests, 0, [&](size_t, Response) { ++answers; });
        EXPECT_EQ(answers, requests.size());
    }
}

TEST_F(Scenes, EveryWordIsOneToken) {
    const auto tokenizer = load_tokenizer(data_ / "tokenizer");
    EXPECT_LE(tokenizer->vocab_size() + 9, 512); // the model's last rows are its boxes'
    TaskOptions options;
    options.data_dir = data_.path();
    for (const std::string& name : kTasks)
        for (const TrainingPair& pair : catalog().training_pairs(name, options))
            for (const std::string& text : {pair.prompt, pair.target})
                for (int64_t id : tokenizer->encode(text, false)) {
                    const std::string piece = tokenizer->decode({id}, false);
                    const bool letters =
                        piece.size() > 1 ||
                        piece.find_first_of("bcdefghijklmnopqrstuvwxyz") == std::string::npos;
                    EXPECT_TRUE(letters) << piece << " in " << text;
                }
}

// LLaVA's forms of the same questions: the image encoder that lies beside them under a named shape,
// conversations with every answer a target, question lines with VQA's annotations.
TEST_F(Scenes, AreConversationsAndQuestionLinesForALlava) {
    BackendSettings settings;
    settings.type = "llava", settings.shape = "quickstart", settings.device = "cpu";
    settings.vision_tower = data_ / "encoder", settings.tokenizer = data_ / "llava/tokenizer";
    LlavaBackend backend(settings, 1);
    EXPECT_LE(backend.tokenizer()->vocab_size(), backend.shapes().vocab);
    TaskOptions options;
    options.data_dir = data_.path();
    for (const std::string form : {"before", "now"}) {
        SCOPED_TRACE(form);
        std::vector<EncodedExample> batch;
        std::set<std::string> first;
        for (const TrainingPair& pair :
             read_training_file(data_ / ("llava/" + form + "_train.json"), {"llama2", "", data_.path()})) {
            ASSERT_EQ(pair.media.images.size(), 1u);
            batch.push_back(backend.encode(pair, {128, false}));
            EXPECT_FALSE(batch.back().lost_target);
            EXPECT_EQ(batch.back().cut_tokens, 0);
            // three answers, each with the space behind it and the end of the turn; a number has one in
            // front, too
            EXPECT_EQ(std::count_if(batch.back().labels.begin(), batch.back().labels.end(),
                                    [](int64_t l) { return l >= 0; }),
                      10);
            first.insert(pair.pieces.at(0).text.substr(0, 30));
        }
        EXPECT_GE(first.size(), 3u); // the kinds of question take turns in the first place
        EXPECT_GT(backend.loss_sum(batch).item<float>(), 0);
        const auto task =
            catalog().make(form == "now" ? "quickstart/pictures" : "quickstart/pictures_before", options);
        const auto& examples = task->examples();
        ASSERT_EQ(examples.size(), 6u);
        std::vector<Request> requests;
        for (const Example& example : examples) {
            EXPECT_FALSE(example.target.empty());
            requests.push_back(task->requests(example).at(0));
        }
        size_t answers = 0;
        backend.respond(requests, 0, [&](size_t, const Response& response) {
            ++answers;
            EXPECT_GE(response.prompt_tokens, 20); // nine of them the picture's
            EXPECT_LE(response.prompt_tokens, 26); // no word falls to bytes
        });
        EXPECT_EQ(answers, requests.size());
    }
}

TEST_F(Scenes, AreTheSameBitsForASeed) {
    test::TempDir again;
    make_scenes(again.path());
    size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(again.path())) {
        if (!entry.is_regular_file()) continue;
        const std::string name = std::filesystem::relative(entry.path(), again.path()).string();
        EXPECT_EQ(sha256_file(entry.path().string()), sha256_file(data_ / name)) << name;
        ++files;
    }
    EXPECT_GT(files, 25u);
}

TEST_F(Scenes, OfBothFormsShareTheirPicturesAndDifferInTheirAnswers) {
    TaskOptions options;
    options.data_dir = data_.path();
    for (const auto& [before, now] : {std::pair{"quickstart/scenes_before", "quickstart/scenes"},
                                      std::pair{"quickstart/clips_before", "quickstart/clips"}}) {
        auto first = catalog().make(before, options), second = catalog().make(now, options);
        ASSERT_EQ(first->examples().size(), second->examples().size());
        for (size_t i = 0; i < first->examples().size(); ++i) {
            EXPECT_EQ(first->examples()[i].media.features, second->examples()[i].media.features);
            EXPECT_NE(first->examples()[i].prompt, second->examples()[i].prompt);
        }
    }
}

TEST(Drawing, PutsAShapeInItsColourWhereItBelongs) {
    std::string why;
    if (!media_available(&why)) GTEST_SKIP() << why;
    for (int kind = 0; kind < 4; ++kind) {
        const Image image = media_library().draw(
            40, 20, {1, 2, 3}, {{static_cast<DrawnShape::Kind>(kind), 30, 10, 12, {200, 100, 50}}});
        ASSERT_EQ(image.rgb.size(), 40u * 20 * 3);
        auto at = [&](int x, int y) {
            const uint8_t* p = &image.rgb[static_cast<size_t>(y * 40 + x) * 3];
            return std::array<int, 3>{p[0], p[1], p[2]};
        };
        EXPECT_EQ(at(30, 10), (std::array<int, 3>{200, 100, 50})) << kind;
        EXPECT_EQ(at(5, 10), (std::array<int, 3>{1, 2, 3})) << kind;
        EXPECT_EQ(at(22, 10), (std::array<int, 3>{1, 2, 3})) << kind;
    }
    EXPECT_THROW(media_library().draw(0, 5, {}, {}), Error);
}

} // namespace
} // namespace dorabench
