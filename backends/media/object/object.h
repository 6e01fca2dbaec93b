#pragma once
// Between the files of libdorabench_media.so.
#include "backends/media/media.h"

namespace dorabench {

Image decode_image_bytes(const std::string& bytes, const std::string& name, const MediaLimits& limits);
Image draw_shapes(int width, int height, std::array<uint8_t, 3> background,
                  const std::vector<DrawnShape>& shapes);
void write_png_file(const std::string& path, const Image& image);
std::string opencv_version();
void limit_opencv_threads();

// Decodes in presentation order and hands each frame's time to `wanted`; only wanted frames are turned into
// RGB. Both may end the decoding by returning false from `keep`.
struct FrameSink {
    virtual ~FrameSink() = default;
    // The frame at `seconds` will stay on screen until `until` (infinity for the last): how many times is it
    // wanted?
    virtual int wanted(double seconds, double until) = 0;
    virtual bool keep(VideoFrame frame) = 0; // false: enough
};
void decode_video(const std::string& path, const MediaLimits& limits, FrameSink& sink);
VideoInfo probe_video(const std::string& path);
double scan_duration(const std::string& path); // seconds of the video stream, from its packets' times
void write_video_file(const std::string& path, const std::vector<Image>& frames, double frames_per_second);
std::string ffmpeg_version();

} // namespace dorabench
