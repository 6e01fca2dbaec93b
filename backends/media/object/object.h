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

// Every frame in presentation order, until `visit` returns false.
void decode_all(const std::string& path, const MediaLimits& limits, const MediaLibrary::FrameVisitor& visit);
// The frame on screen at each of the times that `times_of` makes of the video's length in seconds (rising,
// from the first frame's time on; the last frame stays for what is left). Only these are turned into RGB,
// decoding ends with the last of them, and frames that neither are wanted nor serve as references are not
// decoded.
using FrameTimes = std::function<std::vector<double>(double length)>;
std::vector<VideoFrame> decode_at(const std::string& path, const MediaLimits& limits,
                                  const FrameTimes& times_of);
VideoInfo probe_video(const std::string& path);
void write_video_file(const std::string& path, const std::vector<Image>& frames, double frames_per_second);
std::string ffmpeg_version();

} // namespace dorabench
