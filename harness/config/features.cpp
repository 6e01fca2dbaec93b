// The section `features`: images and videos to features. It stands beside what makes a run, so that one
// experiment file can say how its features are made, and no run's identity hangs on it.
#include "harness/config/impl.h"

namespace dorabench {

void read_features(const YamlNode& root, std::vector<FeatureSettings>& features, const Report& report) {
    read_feature_settings(root, features, report);
    const YamlEntry* section = root.find("features");
    if (!section) return;
    const YamlPlace place = section->value.place;
    for (const FeatureSettings& one : features) {
        if (one.to.empty()) continue; // said already
        const int sources = !one.images.empty() + !one.videos.empty() + !one.import.empty();
        if (sources != 1)
            report(place, "features", "expected exactly one of images, videos and import for " + one.to, "");
        if (one.import.empty() && one.encoder.empty())
            report(place, "features.encoder", "missing", "give the CLIP checkpoint that makes " + one.to);
        if (!one.import.empty() && !one.list.empty())
            report(place, "features.list", "expected with images or videos alone", "");
    }
}

std::vector<FeatureSettings> ConfigFile::features(std::string& data_dir,
                                                  std::vector<Diagnostic>& errors) const {
    const Impl& impl = *impl_;
    errors.insert(errors.end(), impl.errors.begin(), impl.errors.end());
    Report report = [&](const YamlPlace& place, std::string key, std::string message,
                        std::string suggestion) {
        if (place.source >= 0 && impl.is_broken(place)) return;
        errors.push_back(impl.diagnostic(place, std::move(key), std::move(message), std::move(suggestion)));
    };
    std::vector<FeatureSettings> out;
    if (!impl.root.find("features"))
        report(impl.root.place, "features", "missing",
               "give it: {images: folder, encoder: CLIP checkpoint, to: features/COCO}");
    read_features(impl.root, out, report);
    data_dir = RunSettings().data_dir;
    if (const YamlEntry* entry = impl.root.find("data_dir"); entry && entry->value.is_string())
        data_dir = entry->value.text;
    return out;
}

} // namespace dorabench
