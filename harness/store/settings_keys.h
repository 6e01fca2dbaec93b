#pragma once
// Which settings of a run stand for what it computes.
#include <string>

namespace dorabench {

// A run's settings by key ("train.save_every"): names and places, and how often a training is saved on the
// way, do not shape its result; the seed tells runs of one group apart.
inline bool shapes_no_result(const std::string& key) {
    for (const char* name :
         {"seed", "name", "results", "data_dir", "plugins", "train.save_every", "train.keep_every"})
        if (key == name) return true;
    return false;
}

} // namespace dorabench
