// features: the whole way from pictures and clips to the store, with a tiny random CLIP
// (tests/golden/vision).
#include "backends/media/feature_files.h"
#include "backends/media/media.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/cli/commands.h"
#include "harness/cli/media_reader.h"
#include "harness/config/config.h"
#include "tests/support/paths.h"
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Image gradient(int width, int height, int shift) {
    Image out{width, height, {}};
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            for (int c = 0; c < 3; ++c)
                out.rgb.push_back(static_cast<uint8_t>((x * (c + 1) + y * 2 + shift * 40) % 256));
    return out;
}

class Features : public testing::Test {
protected:
    void SetUp() override {
        std::string why;
        if (!media_available(&why)) GTEST_SKIP() << why;
        make_folder(data_ / "images/val");
        for (int i = 0; i < 5; ++i)
            media_library().write_png(data_ / ("images/val/p" + std::to_string(i) + ".png"),
                                      gradient(90 + 10 * i, 70, i));
    }
    // Runs the command over a section; what it printed, as JSON.
    json run(const std::string& section) {
        write_file_atomic(data_ / "config.yaml",
                          "data_dir: " + data_.path() + "\nfeatures: {" + section + "}\n");
        FeaturesOptions options;
        options.config = data_ / "config.yaml";
        Globals globals;
        globals.format = "json";
        testing::internal::CaptureStdout();
        std::string printed;
        try {
            features_command(options, globals);
        } catch (...) {
            testing::internal::GetCapturedStdout();
            throw;
        }
        return json::parse(testing::internal::GetCapturedStdout());
    }
    std::string complaint(const std::string& section, ErrorKind kind) {
        try {
            run(section);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            return error.what();
        }
        return "no complaint";
    }
    const std::string resnet_ = "encoder: " + test::golden("vision/clip_resnet.safetensors");
    const std::string vit_ = "encoder: " + test::golden("vision/clip_vit.safetensors");
    test::TempDir data_;
};

TEST_F(Features, GridsOfImagesHaveARowForEachPlace) {
    const json said = run("images: images, to: features/COCO, batch_size: 2, workers: 2, " + resnet_);
    EXPECT_EQ(said["written"], 5);
    EXPECT_EQ(said["skipped"], 0);
    const FeatureTable grid = read_features(data_ / "features/COCO/p3.safetensors", "p3");
    EXPECT_EQ(grid.rows, 4);
    EXPECT_EQ(grid.width, 128);
}

TEST_F(Features, DoNotHangOnBatchesAndThreads) {
    run("images: images, to: one, batch_size: 1, workers: 1, " + resnet_);
    run("images: images, to: many, batch_size: 32, workers: 4, " + resnet_);
    for (int i = 0; i < 5; ++i) {
        const std::string name = "/p" + std::to_string(i) + ".safetensors";
        const FeatureTable a = read_features(data_ / "one" + name, ""),
                           b = read_features(data_ / "many" + name, "");
        ASSERT_EQ(a.values.size(), b.values.size());
        float most = 0, largest = 0;
        for (size_t k = 0; k < a.values.size(); ++k) {
            most = std::max(most, std::abs(a.values[k]));
            largest = std::max(largest, std::abs(a.values[k] - b.values[k]));
        }
        EXPECT_LT(largest, 2e-3f * most); // a step of float16
    }
}

TEST_F(Features, AreMadeOnceAndDamagedOnesAgain) {
    const std::string section = "images: images, to: store, " + resnet_;
    run(section);
    std::filesystem::remove(data_ / "store/p1.safetensors");
    write_file_atomic(data_ / "store/p2.safetensors", "half a file");
    const json said = run(section);
    EXPECT_EQ(said["kept"], 3);
    EXPECT_EQ(said["written"], 2);
    check_stored_features(data_ / "store/p2.safetensors");
}

TEST_F(Features, OfAnotherEncoderDoNotMix) {
    run("images: images, to: store, " + resnet_);
    EXPECT_THAT(complaint("images: images, to: store, " + vit_, ErrorKind::config),
                HasSubstr("made the same way"));
}

TEST_F(Features, DamagedImagesAreSkippedAndNamedOrRefused) {
    write_file_atomic(data_ / "images/val/broken.jpg", "\xff\xd8 no picture");
    const json said = run("images: images, to: store, " + resnet_);
    EXPECT_EQ(said["written"], 5);
    EXPECT_EQ(said["skipped"], 1);
    const json line = json::parse(read_file(data_ / "store/skipped.jsonl"));
    EXPECT_EQ(line["id"], "broken");
    EXPECT_THAT(line["file"].get<std::string>(), HasSubstr("broken.jpg"));
    EXPECT_FALSE(line["reason"].get<std::string>().empty());
    EXPECT_THAT(complaint("images: images, to: other, on_error: refuse, " + resnet_, ErrorKind::data),
                HasSubstr("broken.jpg"));
}

TEST_F(Features, NothingReadableIsAnError) {
    make_folder(data_ / "bad");
    write_file_atomic(data_ / "bad/a.png", "x");
    EXPECT_THAT(complaint("images: bad, to: store, " + resnet_, ErrorKind::data), HasSubstr("none of 1"));
    EXPECT_THAT(complaint("images: nowhere, to: store2, " + resnet_, ErrorKind::data), HasSubstr("nowhere"));
}

TEST_F(Features, AListGivesIdsOfItsOwn) {
    write_file_atomic(
        data_ / "list.json",
        R"({"images": [{"id": 7, "file_name": "val/p0.png"}, {"id": 9, "file_name": "val/p4.png"}]})");
    const json said = run("images: images, list: list.json, to: store, " + resnet_);
    EXPECT_EQ(said["items"], 2);
    EXPECT_TRUE(exists(data_ / "store/7.safetensors"));
    EXPECT_TRUE(exists(data_ / "store/9.safetensors"));
    make_folder(data_ / "images/train");
    media_library().write_png(data_ / "images/train/p0.png", gradient(64, 64, 1));
    EXPECT_THAT(complaint("images: images, to: store2, " + resnet_, ErrorKind::data),
                HasSubstr("are both p0"));
}

TEST_F(Features, OfVideosHaveARowForEachFrameFittedToTheModel) {
    make_folder(data_ / "videos");
    std::vector<Image> frames;
    for (int i = 0; i < 50; ++i) frames.push_back(gradient(96, 64, i));
    media_library().write_video(data_ / "videos/clip.mp4", frames, 10); // five seconds
    run("videos: videos, kind: embedding, every: 1.5, to: plain, " + vit_);
    const FeatureTable plain = read_features(data_ / "plain/clip.safetensors", "clip");
    EXPECT_EQ(plain.rows, 4); // at 0, 1.5, 3 and 4.5 s
    EXPECT_EQ(plain.width, 16);
    run("videos: videos, kind: embedding, every: 1.5, rows: 64, to: fitted, " + vit_);
    const FeatureTable fitted = read_features(data_ / "fitted/clip.safetensors", "clip");
    EXPECT_EQ(fitted.rows, 64);
    EXPECT_EQ(std::vector<float>(fitted.values.begin(), fitted.values.begin() + 64), plain.values);
    for (size_t i = 64; i < fitted.values.size(); ++i) ASSERT_EQ(fitted.values[i], 0);
}

TEST_F(Features, OfTheFieldAreImported) {
    std::string why;
    if (!hdf5_available(&why)) GTEST_SKIP() << why;
    make_folder(data_ / "grids");
    hdf5_library().write_matrix(data_ / "grids/COCO_1.h5", "COCO_1/features",
                                {49, 8, std::vector<float>(49 * 8, 0.5f)});
    write_file_atomic(data_ / "grids/COCO_2.h5", "damaged");
    const json said = run("import: grids, to: store");
    EXPECT_EQ(said["written"], 1);
    EXPECT_EQ(said["skipped"], 1);
    EXPECT_EQ(read_features(data_ / "store/COCO_1.safetensors", "COCO_1").rows, 49);
}

TEST_F(Features, WrongSettingsHavePlaces) {
    EXPECT_THAT(complaint("images: images, to: store, evry: 2, " + resnet_, ErrorKind::config),
                HasSubstr("did you mean \"every\"?"));
    EXPECT_THAT(complaint("images: images, to: store", ErrorKind::config), HasSubstr("features.encoder"));
    EXPECT_THAT(complaint("images: a, videos: b, to: store, " + resnet_, ErrorKind::config),
                HasSubstr("exactly one"));
    EXPECT_THAT(complaint("images: images, to: store, kind: boxes, " + resnet_, ErrorKind::config),
                HasSubstr("grid, embedding"));
}

} // namespace
} // namespace dorabench
