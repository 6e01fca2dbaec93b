// scenes: what the media quickstart is made of goes the whole way that its configs name.
#include "backends/media/media.h"
#include "backends/vlbart/vlbart.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "tasks/catalog.h"
#include "tasks/scenes.h"
#include "tests/support/paths.h"
#include <filesystem>
#include <gmock/gmock.h>

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
