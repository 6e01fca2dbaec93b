#pragma once
// Fills RunSettings from a YAML tree; every wrong key or value is reported with its place, none stops the
// reading.
#include "harness/base/yaml.h"
#include "harness/config/fields.h"

namespace dorabench {

using Report =
    std::function<void(const YamlPlace& place, std::string key, std::string message, std::string suggestion)>;

// names: null: names are not checked. beside: top-level keys that the caller reads itself.
void read_settings(const YamlNode& root, RunSettings& settings, const KnownNames* names,
                   const std::vector<std::string>& beside, const Report& report);

// The section `features` alone; other keys are not looked at.
void read_feature_settings(const YamlNode& root, std::vector<FeatureSettings>& features, const Report& report);

// `did you mean "…"?` or "".
std::string suggest(const std::string& word, const std::vector<std::string>& candidates);
bool is_data_file(const std::string& name); // ends in .yaml, .yml, .json, .jsonl, or the last two gzipped

} // namespace dorabench
