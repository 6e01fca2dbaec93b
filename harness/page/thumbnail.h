#pragma once
// Small pictures of what an item showed the model, as data URIs that a page can carry.
#include <string>
#include <vector>

namespace dorabench {

std::string base64(std::string_view bytes); // RFC 4648, padded
// The images, and three frames of the video, each at most 96 pixels a side as PNG. What can't be read is left
// out; nothing at all where the media object isn't built.
std::vector<std::string> thumbnails(const std::vector<std::string>& images, const std::string& video);

} // namespace dorabench
