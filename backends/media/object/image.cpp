// Images through OpenCV. Only core, imgproc and imgcodecs: OpenCV's dnn, video and objdetect load a second
// protobuf, which crashes beside LibTorch.
#include "backends/media/object/object.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include <cstring>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <optional>

namespace dorabench {
namespace {

struct Size {
    int64_t width = 0, height = 0;
};

uint32_t be(const std::string& bytes, size_t at, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
    return value;
}

uint32_t le(const std::string& bytes, size_t at, int count) {
    uint32_t value = 0;
    for (int i = count - 1; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
    return value;
}

// Where the first segment whose marker fits begins (its 0xFF); npos: none, or no chain of segments.
template <typename Fits>
size_t jpeg_segment(const std::string& bytes, Fits fits) {
    for (size_t at = 2; at + 4 <= bytes.size() && static_cast<uint8_t>(bytes[at]) == 0xFF;) {
        const auto marker = static_cast<uint8_t>(bytes[at + 1]);
        if (fits(marker)) return at;
        const bool bare = marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8);
        at += marker == 0xFF ? 1 : bare ? 2 : 2 + be(bytes, at + 2, 2);
    }
    return std::string::npos;
}

std::optional<Size> jpeg_size(const std::string& bytes) {
    const size_t at = jpeg_segment(bytes, [](uint8_t marker) { // a frame's header
        return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    });
    if (at == std::string::npos || at + 9 >= bytes.size()) return std::nullopt;
    return Size{be(bytes, at + 7, 2), be(bytes, at + 5, 2)};
}

// Whether a JPEG's picture data has an end: libjpeg fills what a file that was cut off lacks with grey, and
// OpenCV does not tell. A thumbnail's end marker, which stands before the scan, does not count.
bool has_end(const std::string& jpeg) {
    const size_t scan = jpeg_segment(jpeg, [](uint8_t marker) { return marker == 0xDA; });
    return scan != std::string::npos && jpeg.find("\xFF\xD9", scan) != std::string::npos;
}

std::optional<Size> webp_size(const std::string& bytes) {
    if (bytes.size() < 30) return std::nullopt;
    std::string kind = bytes.substr(12, 4);
    if (kind == "VP8X") return Size{le(bytes, 24, 3) + 1, le(bytes, 27, 3) + 1};
    if (kind == "VP8 ") return Size{le(bytes, 26, 2) & 0x3FFF, le(bytes, 28, 2) & 0x3FFF};
    if (kind == "VP8L") {
        uint32_t bits = le(bytes, 21, 4);
        return Size{(bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1};
    }
    return std::nullopt;
}

bool begins_jpeg(const std::string& bytes) { return bytes.compare(0, 2, "\xFF\xD8") == 0; }

// The size that the header states, before a byte of pixels is unpacked. nullopt: not one of the formats known
// here.
std::optional<Size> stated_size(const std::string& bytes) {
    auto begins = [&](const char* magic, size_t n) {
        return bytes.size() > n && std::memcmp(bytes.data(), magic, n) == 0;
    };
    if (begins("\x89PNG\r\n\x1a\n", 8) && bytes.size() >= 24) return Size{be(bytes, 16, 4), be(bytes, 20, 4)};
    if (begins_jpeg(bytes)) return jpeg_size(bytes);
    if (begins("RIFF", 4) && bytes.size() > 12 && bytes.compare(8, 4, "WEBP") == 0) return webp_size(bytes);
    if (begins("BM", 2) && bytes.size() > 26) return Size{le(bytes, 18, 4), le(bytes, 22, 4)};
    return std::nullopt;
}

bool animated_webp(const std::string& bytes) {
    return bytes.size() > 20 && bytes.compare(0, 4, "RIFF") == 0 && bytes.compare(8, 8, "WEBPVP8X") == 0 &&
           (bytes[20] & 2);
}

} // namespace

Image decode_image_bytes(const std::string& bytes, const std::string& name, const MediaLimits& limits) {
    if (bytes.empty()) throw Error::data(name, ": the file is empty");
    std::optional<Size> size = stated_size(bytes);
    if (!size)
        throw Error::data(
            name,
            ": not a complete JPEG, PNG, WebP or BMP picture (its first bytes say so, whatever its name)");
    if (size->width < 1 || size->height < 1 || size->width > limits.max_pixels / size->height)
        throw Error::data(name, ": the header states ", size->width, " x ", size->height,
                          " pixels, the limit is ", limits.max_pixels, " in all");
    if (begins_jpeg(bytes) && !has_end(bytes))
        throw Error::data(name, ": truncated: the JPEG's end marker is missing");
    if (animated_webp(bytes))
        throw Error::data(name, ": an animated WebP, of which no frame is the picture; give one frame as a "
                                "file of its own");
    cv::Mat pixels;
    try {
        cv::Mat raw(1, static_cast<int>(bytes.size()), CV_8U, const_cast<char*>(bytes.data()));
        pixels = cv::imdecode(raw, cv::IMREAD_COLOR); // BGR, 8 bits, upright by EXIF, without alpha
    } catch (const cv::Exception& error) {
        throw Error::data(name, ": cannot be decoded (", error.err, ")");
    }
    if (pixels.empty() || pixels.type() != CV_8UC3)
        throw Error::data(name, ": cannot be decoded (truncated or damaged)");
    Image image{pixels.cols, pixels.rows,
                std::vector<uint8_t>(static_cast<size_t>(pixels.cols) * pixels.rows * 3)};
    cv::Mat rgb(pixels.rows, pixels.cols, CV_8UC3, image.rgb.data());
    cv::cvtColor(pixels, rgb, cv::COLOR_BGR2RGB);
    return image;
}

void write_png_file(const std::string& path, const Image& image) {
    cv::Mat pixels(image.height, image.width, CV_8UC3);
    for (size_t i = 0; i < image.rgb.size(); i += 3)
        for (size_t c = 0; c < 3; ++c) pixels.data[i + c] = image.rgb[i + 2 - c];
    std::vector<uint8_t> bytes;
    if (!cv::imencode(".png", pixels, bytes)) throw Error::internal(path, ": PNG encoding failed");
    write_file_atomic(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::string opencv_version() { return CV_VERSION; }
void limit_opencv_threads() { cv::setNumThreads(1); } // one pool of threads a process: LibTorch's

} // namespace dorabench
