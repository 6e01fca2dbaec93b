#include "tasks/media_spec.h"
#include "tasks/spec_yaml.h"

namespace dorabench {

void read_media_keys(SpecMap& map, MediaSpec& media) {
    map.take_map("features", [&](SpecMap& features) {
        features.take("files", media.features);
        for (const std::string& file : media.features)
            if (file.find("{id}") == std::string::npos && file.find("{id:") == std::string::npos)
                features.fail("files", "expected {id} in every candidate, got \"" + file + "\"");
        features.take("rows", media.rows, 0, 1 << 16);
        features.take_choice("missing", {"refuse", "skip"}, [&](size_t i) { media.skip_missing = i == 1; });
    });
    map.take_map("splits", [&](SpecMap& splits) {
        splits.take("train", media.train_splits);
        splits.take("test", media.test_splits);
    });
    map.take("options_count", media.choices, 2, 10);
    map.take_map("submission", [&](SpecMap& submission) {
        submission.take("file", media.submission);
        submission.take("video_key", media.video_key);
    });
}

} // namespace dorabench
