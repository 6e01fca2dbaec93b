#pragma once
// What an image of a prompt may be named by:
//   a file                          of a format that backends/media reads
//   "data:image;base64,…"           its bytes, as MMBench's table has them (RFC 2397; the media type is not
//   read) "clip.mp4#frame=3/8"            the fourth of eight frames that are spread evenly over a video
#include "backends/media/media.h"
#include <string>
#include <vector>

namespace dorabench {

struct PictureName {
    enum class Kind { file, data, frame };
    Kind kind = Kind::file;
    std::string path; // of the file or the video; data: empty
    int frame = 0, frames = 0;
};
PictureName parse_picture(const std::string& name); // Error::data for a frame that is not of the frames
bool picture_exists(const std::string& name);       // the file is there; bytes always are
std::string picture_label(const std::string& name); // for messages: without the bytes

// Reads pictures; the frames of the last video are kept, so that those that are asked for one after the other
// cost one pass over it.
class PictureReader {
public:
    Image read(const std::string& name); // Error::data: missing, damaged, or no picture

private:
    std::string video_;
    std::vector<Image> frames_;
};

} // namespace dorabench
