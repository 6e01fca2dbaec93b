#include "backends/media/media.h"
#include "harness/base/error.h"
#include "tests/support/paths.h"
#include <cmath>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

#define NEEDS_MEDIA()                                                                                        \
    if (std::string why; !media_available(&why)) GTEST_SKIP() << "no media object: " << why

double psnr(const Image& a, const Image& b) {
    if (a.width != b.width || a.height != b.height) return 0;
    double sum = 0;
    for (size_t i = 0; i < a.rgb.size(); ++i)
        sum += (double(a.rgb[i]) - b.rgb[i]) * (double(a.rgb[i]) - b.rgb[i]);
    return sum == 0 ? 99 : 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.rgb.size()) / sum);
}

Image flat(int width, int height, uint8_t r, uint8_t g, uint8_t b) {
    Image image{width, height, {}};
    for (int i = 0; i < width * height; ++i) image.rgb.insert(image.rgb.end(), {r, g, b});
    return image;
}

std::vector<VideoFrame> all_frames(const std::string& path) {
    std::vector<VideoFrame> out;
    media_library().each_frame(path, {}, [&](const VideoFrame& frame) {
        out.push_back(frame);
        return true;
    });
    return out;
}

TEST(Video, WrittenFramesComeBackInOrderAndAtTheirTimes) {
    NEEDS_MEDIA();
    test::TempDir folder;
    std::vector<Image> frames;
    for (int i = 0; i < 30; ++i)
        frames.push_back(flat(64, 48, static_cast<uint8_t>(8 * i), 100, static_cast<uint8_t>(255 - 8 * i)));
    for (std::string name : {"clip.mp4", "clip.avi", "clip.mkv"}) {
        media_library().write_video(folder / name, frames, 10);
        auto all = all_frames(folder / name);
        ASSERT_EQ(all.size(), 30u) << name;
        for (int i = 0; i < 30; ++i) {
            EXPECT_NEAR(all[i].seconds, i / 10.0, 2e-3) << name;
            EXPECT_GT(psnr(all[i].image, frames[i]), 28) << name << " frame " << i;
        }
        auto every = media_library().frames_every(folder / name, 1.0, {});
        ASSERT_EQ(every.size(), 3u) << name;
        EXPECT_NEAR(every[2].seconds, 2.0, 0.06);
        auto uniform = media_library().frames_uniform(folder / name, 5, {});
        ASSERT_EQ(uniform.size(), 5u);
        EXPECT_NEAR(uniform[4].seconds, 2.7, 0.11);
    }
}

TEST(Video, FramesEqualTheReferencePicturesOfRealFiles) {
    NEEDS_MEDIA();
    DORABENCH_NEEDS_SHARED();
    std::string folder = test::shared_dir() + "/data/media/";
    struct Case {
        const char* name;
        const char* ending;
        std::vector<int> frames;
    };
    for (const Case& c : {Case{"bt709_full_range", ".mp4", {0, 7, 15, 22, 29}},
                          Case{"h265_frame_numbers", ".mp4", {0, 2, 5, 7, 9}},
                          Case{"unordered", ".mov", {0, 1, 2, 3}}, Case{"video_0", ".mov", {0, 1, 2}}}) {
        auto all = all_frames(folder + "videos/" + c.name + c.ending);
        for (int number : c.frames) {
            char picture[256];
            std::snprintf(picture, sizeof picture, "%svideo_frames/%s_f%04d.png", folder.c_str(), c.name,
                          number);
            ASSERT_LT(static_cast<size_t>(number), all.size()) << c.name;
            EXPECT_GT(psnr(all[number].image, media_library().read_image(picture, {})), 35) << picture;
        }
    }
}

// References that are not shown are decoded, what nobody refers to is not: the pictures are the same.
TEST(Video, ChosenFramesAreThoseOfTheWholeVideoOnScreenAtTheirTimes) {
    NEEDS_MEDIA();
    DORABENCH_NEEDS_SHARED();
    const std::string folder = test::shared_dir() + "/data/media/videos/";
    for (const char* name :
         {"nasa_13013.mp4", "bt709_full_range.mp4", "h265_frame_numbers.mp4", "unordered.mov"}) {
        const auto all = all_frames(folder + name);
        for (const double every : {0.13, 0.7}) {
            MediaLimits limits;
            limits.threads = every < 0.5 ? 1 : 3;
            const auto chosen = media_library().frames_every(folder + name, every, limits);
            ASSERT_FALSE(chosen.empty()) << name;
            size_t shown = 0;
            for (size_t k = 0; k < chosen.size(); ++k) {
                const double at = every * static_cast<double>(k);
                while (shown + 1 < all.size() && all[shown + 1].seconds <= at) ++shown;
                ASSERT_EQ(chosen[k].seconds, all[shown].seconds) << name << " at " << at;
                ASSERT_TRUE(chosen[k].image.rgb == all[shown].image.rgb) << name << " at " << at;
            }
        }
    }
    int64_t seen = 0; // a visitor may leave
    media_library().each_frame(folder + "nasa_13013.mp4", {}, [&](const VideoFrame&) { return ++seen < 3; });
    EXPECT_EQ(seen, 3);
}

TEST(Video, RotationIsApplied) {
    NEEDS_MEDIA();
    DORABENCH_NEEDS_SHARED();
    std::string folder = test::shared_dir() + "/data/media/videos/";
    VideoInfo upright = media_library().probe(folder + "video_0.mov"),
              turned = media_library().probe(folder + "video_90.mov");
    EXPECT_EQ(upright.rotation, 0);
    EXPECT_EQ(turned.rotation % 180, 90);
    auto frames = all_frames(folder + "video_90.mov");
    ASSERT_FALSE(frames.empty());
    EXPECT_EQ(frames[0].image.width, turned.width);
    EXPECT_EQ(frames[0].image.height, turned.height);
}

TEST(Video, DamagedFilesAreRefusedOrPartlyReadAndNeverCrash) {
    NEEDS_MEDIA();
    DORABENCH_NEEDS_SHARED();
    MediaLimits limits;
    limits.max_seconds = 20;
    int seen = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(test::shared_dir() + "/data/malformed/mp4")) {
        if (entry.path().extension() == ".json") continue;
        ++seen;
        try {
            EXPECT_FALSE(media_library().frames_every(entry.path().string(), 1.5, limits).empty());
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
        }
    }
    EXPECT_GT(seen, 20);
}

TEST(Video, OnlyLocalFilesAreOpened) {
    NEEDS_MEDIA();
    EXPECT_THROW(media_library().probe("http://127.0.0.1/a.mp4"), Error);
    EXPECT_THROW(media_library().probe("concat:a.mp4|b.mp4"), Error);
    test::TempDir folder;
    EXPECT_THROW(all_frames(folder / "absent.mp4"), Error);
}

} // namespace
} // namespace dorabench
