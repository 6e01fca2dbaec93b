#include "backends/llava/pictures.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <array>
#include <charconv>

namespace dorabench {
namespace {

constexpr size_t kMostBytes = size_t(256) << 20; // of one image file
constexpr std::string_view kFrame = "#frame=", kBase64 = ";base64,";

std::string from_base64(std::string_view text) {
    static const auto kValue = [] {
        std::array<int, 256> value{};
        value.fill(-1);
        const std::string_view signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for (size_t i = 0; i < signs.size(); ++i)
            value[static_cast<unsigned char>(signs[i])] = static_cast<int>(i);
        return value;
    }();
    std::string out;
    out.reserve(text.size() / 4 * 3);
    uint32_t bits = 0;
    int held = 0;
    size_t end = text.size();
    while (end > 0 && text[end - 1] == '=') --end;
    for (size_t i = 0; i < end; ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == '\n' || c == '\r' || c == ' ') continue;
        if (kValue[c] < 0)
            throw Error::data("an image in base64: expected letters, digits, + and /, got byte ", int(c),
                              " at character ", i + 1);
        bits = bits << 6 | static_cast<uint32_t>(kValue[c]);
        if ((held += 6) >= 8) out += static_cast<char>(bits >> (held -= 8) & 0xFF);
    }
    return out;
}

} // namespace

PictureName parse_picture(const std::string& name) {
    PictureName out;
    if (starts_with(name, "data:")) {
        out.kind = PictureName::Kind::data;
        return out;
    }
    const size_t mark = name.rfind(kFrame);
    out.path = name.substr(0, mark);
    if (mark == std::string::npos) return out;
    out.kind = PictureName::Kind::frame;
    const char *at = name.data() + mark + kFrame.size(), *end = name.data() + name.size();
    auto number = std::from_chars(at, end, out.frame);
    const bool divided = number.ec == std::errc() && number.ptr != end && *number.ptr == '/';
    if (divided) number = std::from_chars(number.ptr + 1, end, out.frames);
    if (!divided || number.ec != std::errc() || number.ptr != end || out.frame < 0 ||
        out.frame >= out.frames || out.frames > 4096)
        throw Error::data(name, ": expected #frame=K/N behind a video's name, 0 <= K < N <= 4096");
    return out;
}

bool picture_exists(const std::string& name) {
    const PictureName picture = parse_picture(name);
    return picture.kind == PictureName::Kind::data || exists(picture.path);
}

std::string picture_label(const std::string& name) {
    return starts_with(name, "data:") ? "an image in base64" : name;
}

Image PictureReader::read(const std::string& name) {
    const PictureName picture = parse_picture(name);
    const MediaLibrary& media = media_library();
    if (picture.kind == PictureName::Kind::file)
        return media.decode_image(read_file(name, kMostBytes), name, MediaLimits());
    if (picture.kind == PictureName::Kind::data) {
        const size_t at = name.find(kBase64);
        if (at == std::string::npos) throw Error::data("an image in a data: URI: expected base64");
        return media.decode_image(from_base64(std::string_view(name).substr(at + kBase64.size())),
                                  picture_label(name), MediaLimits());
    }
    const std::string video = cat(picture.path, "#", picture.frames);
    if (video_ != video) {
        frames_.clear();
        for (VideoFrame& frame : media.frames_uniform(picture.path, picture.frames, MediaLimits()))
            frames_.push_back(std::move(frame.image));
        video_ = video;
    }
    if (frames_.empty()) throw Error::data(picture.path, ": expected frames, the video has none");
    return frames_[std::min(static_cast<size_t>(picture.frame), frames_.size() - 1)];
}

} // namespace dorabench
