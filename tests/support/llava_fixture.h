#pragma once
// The shared LLaVA fixture: its folder, its images, settings for its checkpoints.
#include "harness/api/settings.h"
#include "tests/support/paths.h"

namespace dorabench::test {

inline std::string llava_folder() { return shared_dir() + "/golden/llava/llava"; }
inline std::string llava_image(int i) { return llava_folder() + "/images/img" + std::to_string(i) + ".png"; }
inline BackendSettings llava_settings(const std::string& checkpoint) {
    BackendSettings settings;
    settings.type = "llava";
    settings.checkpoint = llava_folder() + "/" + checkpoint;
    settings.device = "cpu";
    if (checkpoint == "checkpoint_llava") settings.vision_tower = llava_folder() + "/vision_tower";
    return settings;
}

} // namespace dorabench::test
