// The one C symbol of libdorabench_media.so, and the choice of frames.
#include "backends/media/object/object.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include <cmath>
#include <limits>

namespace dorabench {
namespace {

class Collect : public FrameSink {
public:
    Collect(const std::string& path, const MediaLimits& limits) : path_(path), limits_(limits) {}
    bool keep(VideoFrame frame) override {
        if (static_cast<int64_t>(frames.size()) >= limits_.max_frames)
            throw Error::data(path_, ": more than ", limits_.max_frames, " frames would be kept");
        frames.push_back(std::move(frame));
        return true;
    }
    std::vector<VideoFrame> frames;

private:
    std::string path_;
    MediaLimits limits_;
};

struct AllFrames : Collect {
    using Collect::Collect;
    int wanted(double, double) override { return 1; }
};

// The frame on screen at each of given times: times are asked for in order, the last frame stays for what is
// left.
struct AtTimes : Collect {
    AtTimes(const std::string& path, const MediaLimits& limits, std::vector<double> times)
        : Collect(path, limits), times_(std::move(times)) {}
    int wanted(double, double until) override {
        int count = 0;
        while (next_ < times_.size() && times_[next_] < until) {
            ++next_;
            ++count;
        }
        return count;
    }
    // enough once the last time is served: nothing behind it is decoded
    bool keep(VideoFrame frame) override {
        return Collect::keep(std::move(frame)) && frames.size() < times_.size();
    }

private:
    std::vector<double> times_;
    size_t next_ = 0;
};

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
        double length = scan_duration(path);
        std::vector<double> times;
        for (double at = 0;
             at < std::max(length, every / 2) && static_cast<int64_t>(times.size()) < limits.max_frames;
             at = every * static_cast<double>(times.size()))
            times.push_back(at);
        return at_times(path, limits, std::move(times));
    }
    std::vector<VideoFrame> frames_uniform(const std::string& path, int n,
                                           const MediaLimits& limits) const override {
        double length = scan_duration(path);
        std::vector<double> times;
        for (int k = 0; k < n; ++k) times.push_back((k + 0.5) / n * length);
        return at_times(path, limits, std::move(times));
    }
    std::vector<VideoFrame> all_frames(const std::string& path, const MediaLimits& limits) const override {
        AllFrames sink(path, limits);
        decode_video(path, limits, sink);
        return std::move(sink.frames);
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

private:
    static std::vector<VideoFrame> at_times(const std::string& path, const MediaLimits& limits,
                                            std::vector<double> times) {
        AtTimes sink(path, limits, std::move(times));
        decode_video(path, limits, sink);
        return std::move(sink.frames);
    }
};

} // namespace
} // namespace dorabench

extern "C" const dorabench::MediaLibrary* dorabench_media_v1() {
    static const dorabench::Library library;
    return &library;
}
