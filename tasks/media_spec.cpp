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
    map.take_map("limits", [&](SpecMap& limits) {
        limits.take("prompt", media.max_prompt, 1, 1 << 16);
        limits.take("target", media.max_target, 1, 1 << 16);
    });
    map.take("options_count", media.choices, 2, 10);
    map.take("images", media.images);
    map.take("suffix", media.suffix);
    map.take("frames", media.frames, 0, 256);
    const std::vector<std::string> rules{"vqa", "vqa_m4c", "gqa", "pope", "scienceqa", "mmbench", "option"};
    map.take_choice("scoring", rules, [&](size_t i) { media.scoring = rules[i]; });
    map.take_map("submission", [&](SpecMap& submission) {
        submission.take("file", media.submission);
        const std::vector<std::string> forms{"answers", "vizwiz", "mmbench"};
        submission.take_choice("form", forms, [&](size_t i) { media.submission_form = forms[i]; });
        submission.take("all_questions", media.all_questions);
        submission.take("video_key", media.video_key);
    });
}

} // namespace dorabench
