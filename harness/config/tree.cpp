// Paths into a tree, and places for messages: the small parts of impl.h.
#include "harness/base/text.h"
#include "harness/config/impl.h"

namespace dorabench {

namespace {

void place_everywhere(YamlNode& node, const YamlPlace& place) {
    node.place = place;
    for (auto& item : node.items) place_everywhere(item, place);
    for (auto& entry : node.entries) {
        entry.key_place = place;
        place_everywhere(entry.value, place);
    }
}

std::pair<int, int> broken_key(const YamlPlace& place) {
    return {place.source, place.line * 65536 + place.column};
}

} // namespace

Diagnostic ConfigFile::Impl::diagnostic(const YamlPlace& place, std::string key, std::string message,
                                        std::string suggestion) const {
    Diagnostic out;
    out.key = std::move(key);
    out.message = std::move(message);
    out.suggestion = std::move(suggestion);
    out.mark.file = "command line";
    if (place.source < 0 || static_cast<size_t>(place.source) >= sources.size()) return out;
    const Source& source = sources[static_cast<size_t>(place.source)];
    out.mark = {source.shown, place.line, place.column};
    out.included_from = source.included_from;
    size_t line = place.line > 0 ? static_cast<size_t>(place.line) - 1 : 0;
    if (line < source.lines.size() && (place.line > 0 || source.layer == Layer::command_line)) {
        out.source = source.lines[line];
        if (ends_with(out.source, "\r")) out.source.pop_back();
        if (starts_with(out.source, "\xEF\xBB\xBF")) out.source.erase(0, 3);
        if (invalid_utf8(out.source) != std::string::npos)
            out.source.clear(); // nothing that breaks a terminal
    }
    return out;
}

void ConfigFile::Impl::report(const YamlPlace& place, std::string key, std::string message,
                              std::string suggestion) {
    errors.push_back(diagnostic(place, std::move(key), std::move(message), std::move(suggestion)));
}

bool ConfigFile::Impl::is_broken(const YamlPlace& place) const { return broken.count(broken_key(place)) > 0; }
void ConfigFile::Impl::mark_broken(const YamlPlace& place) { broken.insert(broken_key(place)); }

int ConfigFile::Impl::add_source(Source source) {
    sources.push_back(std::move(source));
    return static_cast<int>(sources.size()) - 1;
}

Layer ConfigFile::Impl::layer_of(const YamlPlace& place) const {
    if (place.source < 0 || static_cast<size_t>(place.source) >= sources.size()) return Layer::command_line;
    return sources[static_cast<size_t>(place.source)].layer;
}

YamlNode ConfigFile::Impl::parse_argument(const std::string& shown, const std::string& yaml,
                                          const std::string& key) {
    int source = add_source({"command line", {shown}, "", Layer::command_line});
    std::vector<YamlError> problems;
    YamlNode node = parse_yaml(yaml, source, problems);
    place_everywhere(node, {source, 0, 0});
    for (const auto& problem : problems) report({source, 0, 0}, key, problem.message, problem.suggestion);
    if (!problems.empty()) mark_broken({source, 0, 0});
    return node;
}

std::vector<std::string> split_key(const std::string& key) {
    if (starts_with(key, "sweep.")) return {"sweep", key.substr(6)};
    return split(key, '.');
}

const YamlEntry* find_entry(const YamlNode& root, const std::string& key) {
    const YamlNode* node = &root;
    const YamlEntry* entry = nullptr;
    for (const auto& part : split_key(key)) {
        entry = node->find(part);
        if (!entry) return nullptr;
        node = &entry->value;
    }
    return entry;
}

YamlPlace place_of(const YamlNode& root, const std::string& key) {
    const YamlNode* node = &root;
    YamlPlace place = root.place;
    for (const auto& part : split_key(key)) {
        const YamlEntry* entry = node->find(part);
        if (!entry) return place;
        node = &entry->value;
        place = node->is_map() ? entry->key_place : node->place;
    }
    return place;
}

void set_value(YamlNode& root, const std::string& key, const YamlNode& value, const YamlPlace& place) {
    if (std::string twin = twin_of(key); !twin.empty()) erase_key(root, twin);
    YamlNode* node = &root;
    for (const auto& part : split_key(key)) {
        if (!node->is_map()) {
            node->kind = YamlNode::Kind::map;
            node->text.clear();
            node->items.clear();
            node->place = place;
        }
        YamlEntry* entry = node->find(part);
        if (!entry) {
            node->entries.push_back({part, place, {}});
            entry = &node->entries.back();
        }
        node = &entry->value;
        if (node->is_null()) node->place = place;
    }
    *node = value;
}

void erase_key(YamlNode& root, const std::string& key) {
    size_t dot = key.rfind('.');
    YamlNode* node = &root;
    if (dot != std::string::npos) {
        const YamlEntry* section = find_entry(root, key.substr(0, dot));
        if (!section) return;
        node = const_cast<YamlNode*>(&section->value);
    }
    std::string last = dot == std::string::npos ? key : key.substr(dot + 1);
    std::erase_if(node->entries, [&](const YamlEntry& entry) { return entry.key == last; });
}

} // namespace dorabench
