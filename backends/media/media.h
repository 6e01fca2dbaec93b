#pragma once
// Images and videos from files, through a shared object that is loaded when it is first asked for (OpenCV for
// images, FFmpeg for video), so that commands without media start at once and a machine without those
// libraries still runs everything else. Only local files are opened, and decoding has limits.
#include "backends/media/image.h"
#include <functional>
#include <string>
#include <vector>

namespace dorabench {

struct MediaLimits {
    int64_t max_pixels =
        int64_t(64) << 20;     // of one picture or frame: above it is taken for a decompression bomb
    int64_t max_frames = 4096; // kept from one video
    double max_seconds = 120;  // of decoding time for one file
    int threads = 0;           // of a video's decoder; 0: one for small frames, else the processors
                               // of this process, at most 4
};

struct VideoFrame {
    double seconds = 0; // presentation time, from the stream's first frame
    Image image;        // upright: the file's rotation is applied
};

struct VideoInfo {
    double seconds = 0, frames_per_second = 0; // as the container states; 0 where it does not
    int width = 0, height = 0,
        rotation = 0; // of the upright picture; rotation in degrees clockwise as stored
    std::string codec, container;
};

struct DrawnShape { // filled, antialiased, around (x, y); size: its height in pixels
    enum class Kind { circle, square, triangle, cross } kind = Kind::circle;
    double x = 0, y = 0, size = 0;
    std::array<uint8_t, 3> colour{};
};

class MediaLibrary {
public:
    virtual ~MediaLibrary() = default;
    // JPEG, PNG, WebP, … by content, whatever the name says: EXIF orientation applied, alpha dropped, grey,
    // 16-bit and CMYK turned into 8-bit RGB, the first frame of an animation. Error::data names the file and
    // the reason.
    virtual Image read_image(const std::string& path, const MediaLimits& limits) const = 0;
    virtual Image decode_image(const std::string& bytes, const std::string& name,
                               const MediaLimits& limits) const = 0;
    // The frames nearest at or before the times `start + k * every` seconds, k = 0, 1, …, to the end (by
    // presentation time: variable frame rates are right). Sound and data streams are ignored.
    virtual std::vector<VideoFrame> frames_every(const std::string& path, double every,
                                                 const MediaLimits& limits) const = 0;
    // n frames spread evenly over the video: at (k + 0.5) / n of its length.
    virtual std::vector<VideoFrame> frames_uniform(const std::string& path, int n,
                                                   const MediaLimits& limits) const = 0;
    // Every frame in presentation order, one at a time, until `visit` returns false; its picture is
    // overwritten by the next one's.
    using FrameVisitor = std::function<bool(const VideoFrame&)>;
    virtual void each_frame(const std::string& path, const MediaLimits& limits,
                            const FrameVisitor& visit) const = 0;
    virtual VideoInfo probe(const std::string& path) const = 0;
    // A picture of one colour with shapes on it, the later above the earlier.
    virtual Image draw(int width, int height, std::array<uint8_t, 3> background,
                       const std::vector<DrawnShape>& shapes) const = 0;
    virtual void write_png(const std::string& path, const Image& image) const = 0;
    // An MPEG-4 (part 2) clip in an MP4 or AVI container, as the name ends.
    virtual void write_video(const std::string& path, const std::vector<Image>& frames,
                             double frames_per_second) const = 0;
    virtual std::string versions() const = 0; // "OpenCV 4.6.0, FFmpeg 5.1.9 (GPL version 2 or later)"
};

// Error::resources with the repair where the object is absent or does not load.
const MediaLibrary& media_library();
bool media_available(std::string* why_not = nullptr);

} // namespace dorabench
