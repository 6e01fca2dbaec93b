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

TEST(Video, WrittenFramesComeBackInOrderAndAtTheirTimes) {
    NEEDS_MEDIA();
    test::TempDir folder;
    std::vector<Image> frames;
    for (int i = 0; i < 30; ++i)
        frames.push_back(flat(64, 48, static_cast<uint8_t>(8 * i), 100, static_cast<uint8_t>(255 - 8 * i)));
    for (std::string name : {"clip.mp4", "clip.avi", "clip.mkv"}) {
        media_library().write_video(folder / name, frames, 10);
        auto all = media_library().all_frames(folder / name, {});
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
        auto all = media_library().all_frames(folder + "videos/" + c.name + c.ending, {});
        for (int number : c.frames) {
            char picture[256];
            std::snprintf(picture, sizeof picture, "%svideo_frames/%s_f%04d.png", folder.c_str(), c.name,
                          number);
            ASSERT_LT(static_cast<size_t>(number), all.size()) << c.name;
            EXPECT_GT(psnr(all[number].image, media_library().read_image(picture, {})), 35) << picture;
        }
    }
}

TEST(Video, RotationIsApplied) {
    NEEDS_MEDIA();
    DORABENCH_NEEDS_SHARED();
    std::string folder = test::shared_dir() + "/data/media/videos/";
    VideoInfo upright = media_library().probe(folder + "video_0.mov"),
              turned = media_library().probe(folder + "video_90.mov");
    EXPECT_EQ(upright.rotation, 0);
    EXPECT_EQ(turned.rotation % 180, 90);
    auto frames = media_library().all_frames(folder + "video_90.mov", {});
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
    EXPECT_THROW(media_library().all_frames(folder / "absent.mp4", {}), Error);
}

} // namespace
} // namespace dorabench
