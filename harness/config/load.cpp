// Files, includes, merging, variables and overrides: from paths to one tree.
#include "harness/base/env.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/config/impl.h"
#include <algorithm>
#include <filesystem>

namespace dorabench {

namespace {

namespace fs = std::filesystem;
constexpr size_t kMaxFiles = 256; // includes that include each other can be exponentially many

struct Loading {
    ConfigFile::Impl& impl;
    std::vector<std::string>
        open; // canonical paths from the main file down: a file among them includes itself
    size_t files = 0;
};

bool is_file(const fs::path& path) {
    std::error_code ignored;
    return fs::exists(path, ignored) && !fs::is_directory(path, ignored);
}

// Beside the including file, in its ancestor folders, then in the configs that come with the program.
std::optional<fs::path> find_include(const std::string& from, const std::string& name) {
    fs::path wanted(name);
    if (wanted.is_absolute()) return is_file(wanted) ? std::optional(wanted) : std::nullopt;
    std::error_code ignored;
    fs::path folder = fs::absolute(from, ignored).lexically_normal().parent_path();
    for (;; folder = folder.parent_path()) {
        if (is_file(folder / wanted)) {
            fs::path found = (folder / wanted).lexically_normal();
            if (fs::path(from).is_absolute()) return found;
            fs::path shown = found.lexically_proximate(fs::current_path(ignored));
            return shown.empty() ? found : shown;
        }
        if (folder == folder.parent_path()) break;
    }
    fs::path shared = fs::path(share_folder()) / "configs" / wanted;
    return is_file(shared) ? std::optional(shared.lexically_normal()) : std::nullopt;
}

// A later layer over an earlier one: maps deeply, anything else replaced; a key displaces its twin.
void merge(YamlNode& base, const YamlNode& over, const std::string& path, bool null_replaces) {
    for (const auto& entry : over.entries) {
        std::string key = path.empty() ? entry.key : path + "." + entry.key;
        std::string in_sweep = starts_with(key, "sweep.") ? key.substr(6) : key;
        if (std::string twin = twin_of(in_sweep); !twin.empty() && !entry.value.is_null()) {
            std::string name = in_sweep == key ? twin.substr(twin.rfind('.') + 1) : twin;
            std::erase_if(base.entries, [&](const YamlEntry& old) { return old.key == name; });
        }
        YamlEntry* old = base.find(entry.key);
        if (!old) {
            base.entries.push_back(entry);
        } else if (old->value.is_map() && entry.value.is_map()) {
            old->key_place = entry.key_place;
            merge(old->value, entry.value, key, null_replaces);
        } else if (null_replaces ||
                   !(old->value.is_map() && entry.value.is_null())) { // `train:` alone wipes nothing
            *old = entry;
        }
    }
}

void check_twins(ConfigFile::Impl& impl, const YamlNode& root) {
    for (const auto& [one, other] : twin_keys()) {
        const YamlEntry *a = find_entry(root, one), *b = find_entry(root, other);
        if (!a || !b || a->value.is_null() || b->value.is_null()) continue;
        bool a_last = std::pair(a->key_place.line, a->key_place.column) >
                      std::pair(b->key_place.line, b->key_place.column);
        impl.report((a_last ? a : b)->key_place, a_last ? one : other,
                    cat("expected one of ", one, " and ", other, ", got both"), "keep one of the two");
    }
}

// The names under `include`, variables expanded.
std::vector<YamlNode> include_names(ConfigFile::Impl& impl, const YamlNode& root) {
    const YamlEntry* entry = root.find("include");
    if (!entry || entry->value.is_null()) return {};
    YamlNode value = entry->value;
    expand_variables(impl, value, "include");
    std::vector<YamlNode> names = value.is_list() ? value.items : std::vector{value};
    std::erase_if(names, [&](const YamlNode& name) {
        if (name.is_string() && !name.text.empty()) return false;
        if (!impl.is_broken(name.place))
            impl.report(name.place, "include", "expected a file, got " + name.describe());
        return true;
    });
    return names;
}

YamlNode load_layer(Loading& loading, const std::string& path, Layer layer, const std::string& included_from);

void load_includes(Loading& loading, const std::string& path, const YamlNode& root, YamlNode& merged) {
    ConfigFile::Impl& impl = loading.impl;
    for (const YamlNode& name : include_names(impl, root)) {
        auto found = find_include(path, name.text);
        if (!found) {
            impl.incomplete = true;
            impl.report(name.place, "include", cat("no such file: ", name.text),
                        "looked beside " + path +
                            ", in its ancestor folders and among the configs that come with the program");
            continue;
        }
        std::error_code ignored;
        std::string canonical = fs::weakly_canonical(*found, ignored).string();
        if (std::find(loading.open.begin(), loading.open.end(), canonical) != loading.open.end()) {
            impl.report(name.place, "include", cat(name.text, " includes itself"));
            continue;
        }
        if (++loading.files > kMaxFiles) {
            impl.report(name.place, "include",
                        cat("expected at most ", kMaxFiles, " included files, got more"));
            return;
        }
        std::string from = cat(path, ":", name.place.line, ":", name.place.column);
        merge(merged, load_layer(loading, found->string(), Layer::included, from), "", false);
    }
}

YamlNode load_layer(Loading& loading, const std::string& path, Layer layer,
                    const std::string& included_from) {
    constexpr size_t kLimit = size_t(2) << 20;
    ConfigFile::Impl& impl = loading.impl;
    std::string text;
    int source = impl.add_source({path, {}, included_from, layer});
    try {
        text = read_file(path, kLimit);
    } catch (const Error& error) {
        impl.incomplete = true;
        std::string reason = error.what();
        if (starts_with(reason, path + ": ")) reason.erase(0, path.size() + 2);
        impl.report({source, 0, 0}, "", reason);
        return {};
    }
    if (text.size() <= kLimit) impl.sources[static_cast<size_t>(source)].lines = split(text, '\n');
    std::vector<YamlError> errors;
    YamlNode root = parse_yaml(text, source, errors);
    for (auto& error : errors) {
        if (error.key.empty()) impl.incomplete = true; // not readable as a whole
        impl.report(error.place, error.key, error.message, error.suggestion);
    }
    if (root.is_null()) root.kind = YamlNode::Kind::map;
    if (!root.is_map()) {
        impl.incomplete = true;
        impl.report(root.place, "", "expected a map of settings, got " + root.describe());
        return {};
    }
    check_twins(impl, root);
    std::error_code ignored;
    loading.open.push_back(fs::weakly_canonical(path, ignored).string());
    YamlNode merged;
    merged.kind = YamlNode::Kind::map;
    merged.place = {source, 1, 1};
    load_includes(loading, path, root, merged);
    loading.open.pop_back();
    std::erase_if(root.entries, [](const YamlEntry& entry) { return entry.key == "include"; });
    merge(merged, root, "", false);
    return merged;
}

// An override of an axis settles it.
void settle_axis(YamlNode& root, const std::string& key) {
    YamlEntry* sweep = root.find("sweep");
    if (!sweep || !sweep->value.is_map()) return;
    std::string twin = twin_of(key);
    auto drop = [&](YamlNode& map) {
        std::erase_if(map.entries,
                      [&](const YamlEntry& e) { return e.key == key || (!twin.empty() && e.key == twin); });
    };
    drop(sweep->value);
    if (YamlEntry* zip = sweep->value.find("zip")) {
        drop(zip->value);
        for (auto& group : zip->value.items) drop(group);
    }
}

bool name_start(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; }
bool name_part(char c) { return name_start(c) || (c >= '0' && c <= '9'); }

// ${NAME} and ${NAME:-default}; $${ is a literal ${. Returns what is wrong, "" if nothing.
std::string expand(const std::string& text, std::string& out) {
    for (size_t i = 0; i < text.size();) {
        if (text.compare(i, 3, "$${") == 0) {
            out += "${";
            i += 3;
        } else if (text.compare(i, 2, "${") != 0) {
            out += text[i++];
        } else {
            size_t end = text.find('}', i), at = i + 2;
            while (at < text.size() && name_part(text[at])) ++at;
            bool named = at > i + 2 && name_start(text[i + 2]);
            bool has_default = text.compare(at, 2, ":-") == 0;
            if (end == std::string::npos || !named || (at != end && !has_default))
                return "expected ${NAME} or ${NAME:-default} (a literal ${ is written $${), got " +
                       text.substr(i, 40);
            std::string name = text.substr(i + 2, at - i - 2);
            auto value = environment(name);
            if (has_default && (!value || value->empty())) value = text.substr(at + 2, end - at - 2);
            if (!value) return "the environment variable " + name + " is not set";
            if (invalid_utf8(*value) != std::string::npos)
                return "the environment variable " + name + " is not UTF-8";
            out += *value;
            i = end + 1;
        }
    }
    return "";
}

} // namespace

YamlNode load_layers(ConfigFile::Impl& impl, const std::string& path) {
    Loading loading{impl, {}};
    return load_layer(loading, path, Layer::own, "");
}

void apply_override(ConfigFile::Impl& impl, YamlNode& root, const std::string& text) {
    size_t equals = text.find('=');
    std::string key = trim(text.substr(0, std::min(equals, text.size())));
    int source = impl.add_source({"command line", {text}, "", Layer::command_line});
    if (equals == std::string::npos || key.empty()) {
        impl.report({source, 0, 0}, "", "expected key.path=value, got \"" + text + "\"");
        return;
    }
    YamlNode value = impl.parse_argument(text, text.substr(equals + 1), key);
    if (key == "include") {
        impl.report({source, 0, 0}, key, "cannot be given on the command line", "write it into the file");
        return;
    }
    YamlNode layer;
    layer.kind = YamlNode::Kind::map;
    set_value(layer, key, value, {source, 0, 0});
    if (!starts_with(key, "sweep")) settle_axis(root, key);
    merge(root, layer, "", true);
}

void expand_variables(ConfigFile::Impl& impl, YamlNode& node, const std::string& key) {
    if (node.is_scalar() && node.text.find("${") != std::string::npos) {
        std::string out, problem = expand(node.text, out);
        if (!problem.empty()) {
            impl.report(node.place, key, problem,
                        ends_with(problem, "is not set") ? "set it, or write ${NAME:-default}" : "");
            impl.mark_broken(node.place);
            node.quoted = true;
            node.text.clear();
            return;
        }
        node.text = out;
        if (node.text.empty() && !node.quoted) node.kind = YamlNode::Kind::null;
    }
    for (auto& item : node.items) expand_variables(impl, item, key);
    for (auto& entry : node.entries)
        expand_variables(impl, entry.value, key.empty() ? entry.key : key + "." + entry.key);
}

void take_plugins(ConfigFile::Impl& impl, const std::vector<std::string>& extra) {
    YamlEntry* entry = impl.root.find("plugins");
    if (entry && entry->value.is_list())
        for (YamlNode& item : entry->value.items) {
            if (!item.is_string() || item.text.empty() || impl.is_broken(item.place)) continue;
            fs::path as_given = item.text, beside = as_given;
            if (item.place.source >= 0 &&
                impl.sources[size_t(item.place.source)].layer != Layer::command_line)
                beside = fs::path(impl.sources[size_t(item.place.source)].shown).parent_path() / as_given;
            std::error_code ignored;
            const fs::path found = is_file(as_given) ? as_given : beside;
            if (!is_file(found)) {
                impl.report(item.place, "plugins", cat("no such file: ", item.text),
                            "looked where the program was started and beside the experiment file");
                impl.mark_broken(item.place);
                continue;
            }
            item.text = fs::canonical(found, ignored).string();
        }
    if (extra.empty()) return;
    if (!entry || !entry->value.is_list()) {
        YamlNode list;
        list.kind = YamlNode::Kind::list;
        set_value(impl.root, "plugins", list, {});
        entry = impl.root.find("plugins");
    }
    for (const std::string& path : extra) {
        auto same = [&](const YamlNode& item) { return item.text == path; };
        if (std::any_of(entry->value.items.begin(), entry->value.items.end(), same)) continue;
        YamlNode item;
        item.kind = YamlNode::Kind::scalar;
        item.text = path;
        item.quoted = true;
        entry->value.items.push_back(item);
    }
}

} // namespace dorabench
