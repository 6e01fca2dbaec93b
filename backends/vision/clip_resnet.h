#pragma once
// CLIP's modified ResNet: three convolutions in the stem, average pools in place of strides. open_clip's
// names.
#include "backends/vision/clip.h"

namespace dorabench {
std::unique_ptr<ClipVision> make_clip_resnet(const Checkpoint& checkpoint, const std::string& prefix,
                                             at::ScalarType dtype);
} // namespace dorabench
