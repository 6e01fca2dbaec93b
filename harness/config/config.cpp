#include "harness/config/config.h"
#include "harness/base/text.h"
#include "harness/config/impl.h"
#include <filesystem>

namespace dorabench {

namespace {

constexpr int kSchemaVersion = 1; // of config.yaml, which settings_yaml writes

// The node of an axis value, with its place in the file; a value from elsewhere stands nowhere.
YamlNode assigned_value(const ConfigFile::Impl& impl, const Assignment& assignment, const Report& report) {
    auto axis = impl.axis_values.find(assignment.key);
    if (axis != impl.axis_values.end())
        for (const auto& [text, node] : axis->second)
            if (text == assignment.yaml) return node;
    std::vector<YamlError> problems;
    YamlNode node = parse_yaml(assignment.yaml, -1, problems);
    for (const auto& problem : problems) report({}, assignment.key, problem.message, problem.suggestion);
    return node;
}

// The file that settings_yaml wrote says which version it is of.
void take_schema_version(YamlNode& root, const Report& report) {
    const YamlEntry* entry = root.find("schema_version");
    if (!entry) return;
    if (auto version = entry->value.as_integer(); !version || *version != kSchemaVersion)
        report(entry->value.place, "schema_version",
               cat("expected ", kSchemaVersion, ", got ", entry->value.describe()),
               "the file was written by another version of dora-bench");
    erase_key(root, "schema_version");
}

} // namespace

ConfigFile ConfigFile::load(const std::string& path, const std::vector<std::string>& overrides,
                            const std::vector<std::string>& axes, const std::vector<std::string>& plugins) {
    auto impl = std::make_shared<Impl>();
    impl->path = path;
    impl->root = load_layers(*impl, path);
    if (!impl->root.is_map()) throw ConfigErrors(impl->errors);
    for (const auto& text : overrides) apply_override(*impl, impl->root, text);
    expand_variables(*impl, impl->root, "");
    take_plugins(*impl, plugins);
    take_sweep(*impl, axes);
    // a tree of which a part could not be read would be full of errors that are none
    if (impl->incomplete) throw ConfigErrors(impl->errors);
    ConfigFile file;
    file.impl_ = std::move(impl);
    return file;
}

RunSettings ConfigFile::parse(const std::vector<Assignment>& assignments, const KnownNames& names,
                              std::vector<Diagnostic>& errors) const {
    const Impl& impl = *impl_;
    errors.insert(errors.end(), impl.errors.begin(), impl.errors.end());
    Report report = [&](const YamlPlace& place, std::string key, std::string message,
                        std::string suggestion) {
        if (place.source >= 0 && impl.is_broken(place)) return;
        errors.push_back(impl.diagnostic(place, std::move(key), std::move(message), std::move(suggestion)));
    };
    YamlNode root = impl.root;
    std::set<std::string> swept;
    for (const auto& [key, values] : impl.axis_values) swept.insert(key);
    for (const auto& assignment : assignments) {
        YamlNode value = assigned_value(impl, assignment, report);
        swept.insert(assignment.key);
        set_value(root, assignment.key, value, value.place);
    }
    take_schema_version(root, report);
    drop_unused(impl, root, swept, report);
    RunSettings settings;
    read_settings(root, settings, &names, {"include", "sweep", "select", "match", "features"}, report);
    std::vector<FeatureSettings> features; // checked with the rest, used by the command of that name
    read_features(root, features, report);
    finish_settings(settings);
    check_settings(root, settings, names, report);
    if (settings.name.empty()) settings.name = std::filesystem::path(impl.path).stem().string();
    return settings;
}

std::vector<std::string> ConfigFile::plugins() const {
    std::vector<std::string> out;
    const YamlEntry* entry = impl_->root.find("plugins");
    if (!entry || !entry->value.is_list()) return out; // parse() says what is wrong with it
    for (const YamlNode& item : entry->value.items)
        if (item.is_string()) out.push_back(item.text);
    return out;
}

const SweepSettings& ConfigFile::sweep() const { return impl_->sweep; }
const std::string& ConfigFile::path() const { return impl_->path; }

Mark ConfigFile::mark_of(const std::string& key) const { return diagnostic(key, "").mark; }

Diagnostic ConfigFile::diagnostic(const std::string& key, std::string message, std::string suggestion) const {
    YamlPlace place = place_of(find_entry(impl_->apart, key) ? impl_->apart : impl_->root, key);
    auto axis = impl_->axis_values.find(key); // a key that only the sweep gives
    if (!find_entry(impl_->root, key) && axis != impl_->axis_values.end())
        place = axis->second.front().second.place;
    return impl_->diagnostic(place, key, std::move(message), std::move(suggestion));
}

} // namespace dorabench
