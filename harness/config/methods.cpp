// Which keys a method, backend or quantisation uses: the others are errors in a single run's own file and are
// left out of a run's identity.
#include "harness/base/text.h"
#include "harness/config/impl.h"
#include <algorithm>

namespace dorabench {

namespace {

using Names = std::vector<std::string>;

bool among(const Names& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

// Of the adapter section, by method. A method that is not here brings its own meaning to every key.
const std::map<std::string, Names>& keys_by_method() {
    static const Names kLora{
        "method",      "rank",          "alpha", "scaling",    "dropout",        "dropout_placement",
        "rslora",      "alpha_pattern", "init",  "train_also", "target_modules", "exclude_modules",
        "rank_pattern"};
    static const Names kVera{"method",          "rank", "dropout",    "d_initial",      "projection_prng_key",
                             "save_projection", "init", "train_also", "target_modules", "exclude_modules"};
    static const Names kMagnitude{"norm_grad", "magnitude_modules", "magnitude_from"};
    static const auto kAll = [] {
        std::map<std::string, Names> all{{"none", {"method"}}, {"ft", {"method"}}, {"lora", kLora},
                                         {"dora", kLora},      {"vera", kVera},    {"dvora", kVera}};
        for (const char* method : {"dora", "dvora"})
            all[method].insert(all[method].end(), kMagnitude.begin(), kMagnitude.end());
        all["dvora"].push_back("dropout_placement");
        return all;
    }();
    return kAll;
}

bool backend_uses(const std::string& type, const std::string& key) {
    if (key == "options") return !among({"llama", "llava"}, type);
    if (key == "vision_tower" || key == "image_processing") return !among({"llama", "vlbart"}, type);
    return true;
}

// The text of a key, or its default.
std::string text_of(const YamlNode& root, const std::string& key, const char* otherwise) {
    const YamlEntry* entry = find_entry(root, key);
    return entry && entry->value.is_string() ? entry->value.text : otherwise;
}

// Removes the unused keys of one section. `chooser` (adapter.method, backend.type) decides what is used; a
// key is an error where its writer could have known: it stands in the run's own file or on the command line,
// and the chooser does not come from a later place (an override, the sweep).
class Dropper {
public:
    Dropper(const ConfigFile::Impl& impl, YamlNode& root, const std::set<std::string>& swept,
            const Report& report)
        : impl_(impl), root_(root), swept_(swept), report_(report) {}

    void drop(const std::string& chooser, const YamlEntry& entry, const std::string& key,
              const std::string& message) {
        Layer writer = impl_.layer_of(entry.key_place), chose = Layer::own;
        if (const YamlEntry* by = find_entry(root_, chooser)) chose = impl_.layer_of(by->value.place);
        bool error =
            writer != Layer::included && writer >= chose && !swept_.count(chooser) && !entry.value.is_null();
        if (error) report_(entry.key_place, key, message, "leave it out");
    }

    void section(const std::string& name, const std::string& chooser, const std::string& noun,
                 const std::string& chosen, const std::function<bool(const std::string&)>& uses) {
        YamlEntry* section = root_.find(name);
        if (!section || !section->value.is_map()) return;
        static const Names kKnown = config_keys();
        std::erase_if(section->value.entries, [&](const YamlEntry& entry) {
            std::string key = name + "." + entry.key;
            if (uses(entry.key) || !among(kKnown, key)) return false;
            drop(chooser, entry, key, cat("the ", noun, " ", chosen, " does not use it"));
            return true;
        });
    }

private:
    const ConfigFile::Impl& impl_;
    YamlNode& root_;
    const std::set<std::string>& swept_;
    const Report& report_;
};

} // namespace

bool method_uses(const std::string& method, const std::string& key) {
    auto at = keys_by_method().find(method);
    return at == keys_by_method().end() || among(at->second, key);
}

void drop_unused(const ConfigFile::Impl& impl, YamlNode& root, const std::set<std::string>& swept,
                 const Report& report) {
    std::string method = text_of(root, "adapter.method", "none"), type = text_of(root, "backend.type", "");
    Dropper dropper(impl, root, swept, report);
    dropper.section("adapter", "adapter.method", "method", method,
                    [&](const auto& key) { return method_uses(method, key); });
    dropper.section("backend", "backend.type", "backend", type,
                    [&](const auto& key) { return backend_uses(type, key); });
    const YamlEntry* train = root.find("train");
    if (method != "none" || !train) return;
    dropper.drop("adapter.method", *train, "train", "the method none trains nothing");
    erase_key(root, "train");
}

std::vector<std::string> method_and_backend_unused(const RunSettings& s) {
    Names out;
    for (const auto& key : config_keys()) {
        size_t dot = key.find('.');
        if (dot == std::string::npos) continue;
        std::string section = key.substr(0, dot), name = key.substr(dot + 1);
        if ((section == "adapter" && !method_uses(s.adapter.method, name)) ||
            (section == "backend" && !backend_uses(s.backend.type, name)))
            out.push_back(key);
    }
    return out;
}

std::vector<std::string> unused_keys(const RunSettings& s) {
    Names out = method_and_backend_unused(s);
    if (s.backend.quantization == "none") {
        out.emplace_back("backend.double_quant");
        if (!among(out, "adapter.magnitude_from")) out.emplace_back("adapter.magnitude_from");
    }
    if (s.train.data.empty()) out.emplace_back("train");
    if (s.evaluate.tasks.empty()) out.emplace_back("evaluate");
    return out;
}

} // namespace dorabench
