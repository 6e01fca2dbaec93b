#include "backends/io/safetensors.h"
#include "backends/media/media.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <cmath>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

Image gradient(int width, int height) {
    Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
    for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<uint8_t>((i * 7 + i / 3) % 256);
    return image;
}

TEST(ResizeBicubic, KeepsAFlatPictureFlat) {
    Image flat{17, 9, std::vector<uint8_t>(17 * 9 * 3, 201)};
    for (auto [w, h] : {std::pair{5, 3}, {40, 31}, {1, 1}, {17, 20}}) {
        Image out = resize_bicubic(flat, w, h);
        ASSERT_EQ(out.rgb.size(), static_cast<size_t>(w) * h * 3);
        for (uint8_t value : out.rgb) EXPECT_EQ(value, 201);
    }
}

TEST(ResizeBicubic, ToTheSameSizeChangesNothing) {
    Image image = gradient(13, 8);
    EXPECT_EQ(resize_bicubic(image, 13, 8).rgb, image.rgb);
}

TEST(CenterCrop, TakesTheMiddleAndPadsWhatIsMissing) {
    Image image = gradient(7, 5);
    Image crop = center_crop(image, 3); // left 2, top 1
    EXPECT_EQ(crop.rgb[0], image.rgb[(1 * 7 + 2) * 3]);
    Image larger = center_crop(gradient(2, 2), 4);
    EXPECT_EQ(larger.rgb[0], 0);
    EXPECT_EQ(larger.rgb[(1 * 4 + 1) * 3 + 1], gradient(2, 2).rgb[1]);
}

TEST(PadToSquare, PutsThePictureInTheMiddleOnTheColour) {
    Image out = pad_to_square(gradient(4, 1), {1, 2, 3});
    EXPECT_EQ(out.width, 4);
    EXPECT_EQ(out.height, 4);
    EXPECT_EQ(out.rgb[2], 3);
    EXPECT_EQ(out.rgb[4 * 3], gradient(4, 1).rgb[0]); // (4 - 1) / 2 = row 1
}

std::vector<uint8_t> bytes_of(const SafetensorsFile& file, const std::string& name) {
    auto span = file.bytes(file.tensors().at(name));
    auto* data = reinterpret_cast<const uint8_t*>(span.data());
    return {data, data + span.size()};
}

// An array in PIL's [H, W, 3] or the processor's [3, H, W] order, as [H, W, 3].
std::vector<uint8_t> interleaved(const SafetensorsFile& file, const std::string& name) {
    std::vector<uint8_t> raw = bytes_of(file, name), out(raw.size());
    const auto& shape = file.tensors().at(name).shape;
    if (shape.back() == 3 && shape.front() != 3) return raw;
    size_t plane = static_cast<size_t>(shape[1] * shape[2]);
    for (size_t i = 0; i < plane; ++i)
        for (size_t c = 0; c < 3; ++c) out[i * 3 + c] = raw[c * plane + i];
    return out;
}

double differing(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
    if (a.size() != b.size()) return 1;
    size_t count = 0;
    for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
    return static_cast<double>(count) / static_cast<double>(std::max<size_t>(a.size(), 1));
}

TEST(ClipPreprocessing, EqualsThePilReferenceOfTheLlavaFixture) {
    DORABENCH_NEEDS_SHARED();
    if (std::string why; !media_available(&why)) GTEST_SKIP() << "no media object: " << why;
    std::string folder = test::shared_dir() + "/golden/llava/llava";
    auto file = SafetensorsFile::open(folder + "/preprocess.safetensors");
    int compared = 0;
    for (int i = 0; i < 4; ++i) {
        Image image = media_library().read_image(folder + "/images/img" + std::to_string(i) + ".png", {});
        std::string n = std::to_string(i);
        EXPECT_EQ(image.rgb, bytes_of(*file, "rgb." + n)) << "decoding image " << i;
        for (bool pad : {false, true}) {
            std::string kind = pad ? "pad" : "clip";
            auto entry = file->tensors().find(kind + "." + n + ".pixel_values");
            ASSERT_NE(entry, file->tensors().end());
            Image crop = pad ? clip_pad(image, 56) : clip_crop(image, 56);
            std::vector<float> got = normalise(crop, kClipMean, kClipStd);
            auto* want = reinterpret_cast<const float*>(file->bytes(entry->second).data());
            double worst = 0;
            for (size_t at = 0; at < got.size(); ++at)
                worst = std::max(worst, std::abs(static_cast<double>(got[at]) - want[at]));
            EXPECT_LT(worst, 1e-5) << kind << " " << i;
            if (!pad) {
                EXPECT_EQ(resize_shorter_side(image, 56).rgb, interleaved(*file, "clip." + n + ".resized"))
                    << i;
                EXPECT_EQ(crop.rgb, interleaved(*file, "clip." + n + ".cropped")) << i;
            }
            std::string large = kind + "." + n + (pad ? ".resized_336" : ".cropped_336");
            if (file->tensors().count(large))
                EXPECT_LT(differing((pad ? clip_pad(image, 336) : clip_crop(image, 336)).rgb,
                                    interleaved(*file, large)),
                          1e-3)
                    << large;
            ++compared;
        }
    }
    EXPECT_EQ(compared, 8);
}

TEST(ClipPreprocessing, EqualsPillowOnRealPictures) {
    DORABENCH_NEEDS_SHARED();
    if (std::string why; !media_available(&why)) GTEST_SKIP() << "no media object: " << why;
    std::string folder = test::shared_dir() + "/data/media/";
    for (std::string name : {"astronaut", "chelsea", "horse", "page"}) {
        Image image = media_library().read_image(folder + "images/" + name + ".png", {});
        Image want = media_library().read_image(folder + "preprocessed/" + name + "_llava336pad.png", {});
        EXPECT_LT(differing(clip_pad(image, 336).rgb, want.rgb), 1e-3) << name;
    }
}

TEST(ReadImage, GivesDamagedFilesAnErrorOrAPictureAndNeverCrashes) {
    DORABENCH_NEEDS_SHARED();
    if (std::string why; !media_available(&why)) GTEST_SKIP() << "no media object: " << why;
    int decoded = 0, refused = 0;
    for (std::string part : {"jpeg_fuzz", "png_fuzz", "jpeg_png_special"})
        for (const auto& entry :
             std::filesystem::directory_iterator(test::shared_dir() + "/data/malformed/" + part)) {
            if (entry.path().extension() == ".json") continue;
            try {
                Image image = media_library().read_image(entry.path().string(), {});
                EXPECT_EQ(image.rgb.size(), static_cast<size_t>(image.width) * image.height * 3);
                ++decoded;
            } catch (const Error& error) {
                EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
                EXPECT_NE(std::string(error.what()).find(entry.path().filename().string()),
                          std::string::npos);
                ++refused;
            }
        }
    EXPECT_GT(decoded, 0);
    EXPECT_GT(refused, 0);
}

TEST(ReadImage, RefusesADecompressionBombBeforeUnpackingIt) {
    if (std::string why; !media_available(&why)) GTEST_SKIP() << "no media object: " << why;
    std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\x02\0\0\0", 29); // 65536 x 65536
    png += std::string(64, 'x');
    EXPECT_THROW(media_library().decode_image(png, "bomb.png", {}), Error);
    EXPECT_THROW(media_library().decode_image("", "empty.png", {}), Error);
    EXPECT_THROW(media_library().decode_image("GIF89a not handled", "a.gif", {}), Error);
}

TEST(Image, ClipsCropIsTheMiddleOfTheWholeResizedPicture) {
    for (auto [width, height] :
         {std::pair{640, 427}, {149, 227}, {224, 300}, {301, 224}, {224, 224}, {5, 90}}) {
        Image image{width, height, {}};
        for (int i = 0; i < width * height * 3; ++i)
            image.rgb.push_back(static_cast<uint8_t>(i * 7919LL % 251));
        const Image whole = center_crop(resize_shorter_side(image, 224), 224), crop = clip_crop(image, 224);
        EXPECT_EQ(crop.width, 224);
        EXPECT_EQ(crop.height, 224);
        EXPECT_EQ(crop.rgb, whole.rgb) << width << " x " << height;
    }
}

} // namespace
} // namespace dorabench
