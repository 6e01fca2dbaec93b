// The one C symbol of libdorabench_media.so, and the times at which frames are taken.
#include "backends/media/object/object.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include <algorithm>

namespace dorabench {
namespace {

class Library final : public MediaLibrary {
public:
    Library() { limit_opencv_threads(); }
    Image read_image(const std::string& path, const MediaLimits& limits) const override {
        return decode_image_bytes(read_file(path, size_t(1) << 30), path, limits);
    }
    Image decode_image(const std::string& bytes, const std::string& name,
                       const MediaLimits& limits) const override {
        return decode_image_bytes(bytes, name, limits);
    }
    std::vector<VideoFrame> frames_every(const std::string& path, double every,
                                         const MediaLimits& limits) const override {
        return decode_at(path, limits, [&](double length) {
            std::vector<double> times;
            for (double at = 0;
                 at < std::max(length, every / 2) && static_cast<int64_t>(times.size()) < limits.max_frames;
                 at = every * static_cast<double>(times.size()))
                times.push_back(at);
            return times;
        });
    }
    std::vector<VideoFrame> frames_uniform(const std::string& path, int n,
                                           const MediaLimits& limits) const override {
        return decode_at(path, limits, [&](double length) {
            std::vector<double> times;
            for (int k = 0; k < n; ++k) times.push_back((k + 0.5) / n * length);
            return times;
        });
    }
    void each_frame(const std::string& path, const MediaLimits& limits,
                    const FrameVisitor& visit) const override {
        decode_all(path, limits, visit);
    }
    VideoInfo probe(const std::string& path) const override { return probe_video(path); }
    Image draw(int width, int height, std::array<uint8_t, 3> background,
               const std::vector<DrawnShape>& shapes) const override {
        return draw_shapes(width, height, background, shapes);
    }
    void write_png(const std::string& path, const Image& image) const override {
        write_png_file(path, image);
    }
    void write_video(const std::string& path, const std::vector<Image>& frames, double rate) const override {
        write_video_file(path, frames, rate);
    }
    std::string versions() const override { return cat("OpenCV ", opencv_version(), ", ", ffmpeg_version()); }
};

} // namespace
} // namespace dorabench

extern "C" const dorabench::MediaLibrary* dorabench_media_v1() {
    static const dorabench::Library library;
    return &library;
}
