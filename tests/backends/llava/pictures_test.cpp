// What an image of a prompt may be named by.
#include "backends/llava/pictures.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <cmath>
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string base64(const std::string& bytes, size_t line = 0) {
    const char* signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; ++k)
            bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
        for (size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : signs[bits >> (18 - 6 * k) & 63];
        if (line && out.size() % (line + 1) == line) out += '\n';
    }
    return out;
}

std::string complaint(const std::string& name) {
    try {
        PictureReader().read(name);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        return error.what();
    }
    return "no complaint";
}

TEST(PictureName, IsAFileBytesOrAFrame) {
    EXPECT_EQ(parse_picture("a/b.png").kind, PictureName::Kind::file);
    EXPECT_EQ(parse_picture("a/b.png").path, "a/b.png");
    EXPECT_EQ(parse_picture("data:image;base64,AAAA").kind, PictureName::Kind::data);
    const PictureName frame = parse_picture("clips/a#1.mp4#frame=3/8");
    EXPECT_EQ(frame.kind, PictureName::Kind::frame);
    EXPECT_EQ(frame.path, "clips/a#1.mp4");
    EXPECT_EQ(frame.frame, 3);
    EXPECT_EQ(frame.frames, 8);
    EXPECT_EQ(picture_label("data:image;base64,AAAA"), "an image in base64");
}

TEST(PictureName, AFrameLiesWithinItsFrames) {
    for (const char* wrong :
         {"a.mp4#frame=", "a.mp4#frame=8/8", "a.mp4#frame=-1/8", "a.mp4#frame=1", "a.mp4#frame=1/",
          "a.mp4#frame=1/8x", "a.mp4#frame=x/8", "a.mp4#frame=0/5000", "a.mp4#frame=0/99999999999"})
        EXPECT_THROW(parse_picture(wrong), Error) << wrong;
}

class Pictures : public testing::Test {
protected:
    void SetUp() override {
        std::string why;
        if (!media_available(&why)) GTEST_SKIP() << why;
        image =
            media_library().draw(20, 10, {200, 30, 60}, {{DrawnShape::Kind::square, 5, 5, 4, {0, 0, 255}}});
        media_library().write_png(folder / "a.png", image);
    }
    test::TempDir folder;
    Image image;
};

TEST_F(Pictures, AFileAndItsBytesAreTheSamePicture) {
    const std::string bytes = read_file(folder / "a.png");
    PictureReader reader;
    EXPECT_EQ(reader.read(folder / "a.png").rgb, image.rgb);
    for (const std::string& name :
         {"data:image;base64," + base64(bytes), "data:image/png;base64," + base64(bytes, 76)}) {
        const Image again = reader.read(name);
        EXPECT_EQ(again.width, 20);
        EXPECT_EQ(again.rgb, image.rgb);
        EXPECT_TRUE(picture_exists(name));
    }
    EXPECT_TRUE(picture_exists(folder / "a.png"));
    EXPECT_FALSE(picture_exists(folder / "b.png"));
}

TEST_F(Pictures, DamageIsNamedWithoutItsBytes) {
    const std::string bytes = base64(read_file(folder / "a.png"));
    EXPECT_THAT(complaint("data:image;base64,ab*d"),
                AllOf(HasSubstr("got byte 42"), HasSubstr("character 3")));
    EXPECT_THAT(complaint("data:image,abcd"), HasSubstr("expected base64"));
    EXPECT_THAT(complaint("data:image;base64," + bytes.substr(0, bytes.size() / 2)),
                AllOf(HasSubstr("an image in base64"), Not(HasSubstr(bytes.substr(0, 30)))));
    EXPECT_THAT(complaint("data:image;base64,"), HasSubstr("an image in base64"));
    EXPECT_THAT(complaint(folder / "b.png"), HasSubstr("b.png"));
    write_file_atomic(folder / "c.mp4", "this is no video");
    EXPECT_THAT(complaint(folder / "c.mp4#frame=0/2"), HasSubstr("c.mp4"));
}

TEST_F(Pictures, FramesAreSpreadEvenlyOverAClip) {
    std::vector<Image> frames;
    for (int i = 0; i < 20; ++i)
        frames.push_back(media_library().draw(32, 32, {static_cast<uint8_t>(10 * i), 100, 50}, {}));
    media_library().write_video(folder / "a.mp4", frames, 10);
    PictureReader reader;
    for (int k = 0; k < 4; ++k) { // at 0.25, 0.75, 1.25 and 1.75 of 2 seconds
        const Image frame = reader.read(folder / ("a.mp4#frame=" + std::to_string(k) + "/4"));
        EXPECT_NEAR(frame.rgb[0], 10 * (2 + 5 * k), 14) << k;
    }
    // fewer frames than are asked for: some come twice, none is missing
    EXPECT_EQ(reader.read(folder / "a.mp4#frame=63/64").width, 32);
}

TEST_F(Pictures, FramesOfARealClipAreTheVideosOwn) {
    DORABENCH_NEEDS_SHARED();
    const std::string clip = test::shared_dir() + "/data/media/videos/bt709_full_range.mp4";
    std::vector<VideoFrame> all;
    media_library().each_frame(clip, {}, [&](const VideoFrame& frame) {
        all.push_back(frame);
        return true;
    });
    ASSERT_EQ(all.size(), 30u);
    PictureReader reader;
    size_t last = 0;
    for (int k = 0; k < 8; ++k) {
        const Image frame = reader.read(clip + "#frame=" + std::to_string(k) + "/8");
        size_t found = all.size();
        for (size_t i = 0; i < all.size() && found == all.size(); ++i)
            if (all[i].image.rgb == frame.rgb) found = i;
        ASSERT_LT(found, all.size()) << k;
        EXPECT_NEAR(static_cast<double>(found), (k + 0.5) / 8 * 30, 1.01) << k;
        EXPECT_TRUE(k == 0 || found > last);
        last = found;
    }
}

} // namespace
} // namespace dorabench
