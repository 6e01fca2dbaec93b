#include "harness/page/thumbnail.h"
#include "backends/media/media.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <unistd.h>

namespace dorabench {
namespace {

constexpr int kSide = 96, kFrames = 3;

std::string as_uri(const Image& image) {
    int longer = std::max({image.width, image.height, 1});
    Image small = resize_bicubic(image, std::max(1, image.width * kSide / longer),
                                 std::max(1, image.height * kSide / longer));
    std::string path =
        (std::filesystem::temp_directory_path() / cat("dora-bench-thumbnail-", getpid(), ".png")).string();
    media_library().write_png(path, small);
    std::string bytes = read_file(path);
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    return "data:image/png;base64," + base64(bytes);
}

} // namespace

std::string base64(std::string_view bytes) {
    constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t at = 0; at < bytes.size(); at += 3) {
        size_t count = std::min<size_t>(3, bytes.size() - at);
        uint32_t word = 0;
        for (size_t i = 0; i < 3; ++i)
            word = word << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0u);
        for (size_t i = 0; i < 4; ++i) out += i <= count ? digits[word >> (18 - 6 * i) & 63u] : '=';
    }
    return out;
}

std::vector<std::string> thumbnails(const std::vector<std::string>& images, const std::string& video) {
    std::vector<std::string> out;
    if ((images.empty() && video.empty()) || !media_available()) return out;
    MediaLimits limits;
    limits.max_seconds = 10;
    for (const std::string& path : images) {
        try {
            out.push_back(as_uri(media_library().read_image(path, limits)));
        } catch (const Error& error) {
            log::debug("no thumbnail: ", error.what());
        }
    }
    if (video.empty()) return out;
    try {
        for (const VideoFrame& frame : media_library().frames_uniform(video, kFrames, limits))
            out.push_back(as_uri(frame.image));
    } catch (const Error& error) {
        log::debug("no thumbnail: ", error.what());
    }
    return out;
}

} // namespace dorabench
