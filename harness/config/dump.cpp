// Settings to JSON and YAML and back.
#include "harness/base/text.h"
#include "harness/config/impl.h"
#include <algorithm>
#include <nlohmann/json.hpp>

namespace dorabench {

namespace {

using Json = nlohmann::ordered_json; // the contract's order

class Writer final : public Fields {
public:
    Json root = Json::object();

    void begin(const char* section, const char*) override {
        section_ = section;
        at_ = &(root[section] = Json::object());
    }
    void end() override {
        section_.clear();
        at_ = &root;
    }
    void field(const char* key, std::string& value, const Rule& rule) override {
        if (!(rule.twin && value.empty()))
            put(key, rule, rule.nullable && value.empty() ? Json() : Json(value));
    }
    void field(const char* key, bool& value, const Rule& rule) override { put(key, rule, value); }
    void field(const char* key, int64_t& value, const Rule& rule) override {
        if (!(rule.twin && value == 0)) put(key, rule, value);
    }
    void field(const char* key, uint64_t& value, const Rule& rule) override { put(key, rule, value); }
    void field(const char* key, double& value, const Rule& rule) override {
        if (!(rule.twin && value == 0)) put(key, rule, value);
    }
    void field(const char* key, std::optional<double>& value, const Rule& rule) override {
        if (value) put(key, rule, *value);
    }
    void field(const char* key, std::vector<std::string>& value, const Rule& rule) override {
        put(key, rule, value);
    }
    void field(const char* key, std::map<std::string, std::string>& value, const Rule& rule) override {
        put(key, rule, Json(value));
    }
    void field(const char* key, std::vector<std::pair<std::string, int64_t>>& value,
               const Rule& rule) override {
        pairs(key, value, rule);
    }
    void field(const char* key, std::vector<std::pair<std::string, double>>& value,
               const Rule& rule) override {
        pairs(key, value, rule);
    }
    void records(const char* key, const Records& records, const Rule& rule) override {
        Json list = Json::array();
        for (size_t i = 0; i < records.size(); ++i) {
            Json element = Json::object();
            Json* outer = std::exchange(at_, &element);
            records.visit(*this, i);
            at_ = outer;
            list.push_back(element);
        }
        put(key, rule, list);
    }
    void list_or_regex(const char* key, std::vector<std::string>& list, std::string& regex,
                       const Rule& rule) override {
        put(key, rule, regex.empty() ? Json(list) : Json(regex));
    }
    void two_numbers(const char* key, double& first, double& second, const Rule& rule) override {
        put(key, rule, Json::array({first, second}));
    }
    void number_or_auto(const char* key, int64_t& value, const Rule& rule) override {
        put(key, rule, value == 0 ? Json("auto") : Json(value));
    }

private:
    template <typename Pairs>
    void pairs(const char* key, const Pairs& value, const Rule& rule) {
        // the first match wins, and JSON objects have no order: a list of maps where the order is not the
        // sorted one
        bool sorted =
            std::is_sorted(value.begin(), value.end(), [](auto& a, auto& b) { return a.first < b.first; });
        Json out = sorted ? Json::object() : Json::array();
        for (const auto& [name, number] : value) {
            if (sorted)
                out[name] = number;
            else
                out.push_back({{name, number}});
        }
        put(key, rule, out);
    }
    void put(const char* key, const Rule& rule, Json value) {
        if (!rule.given || *rule.given) (*at_)[key] = std::move(value);
    }

    Json* at_ = &root;
    std::string section_;
};

Json dump(const RunSettings& settings) {
    RunSettings copy = settings; // visit() serves readers too, so it wants to write
    Writer writer;
    visit(writer, copy);
    Json& root = writer.root;
    for (const auto& key : method_and_backend_unused(settings)) {
        size_t dot = key.find('.');
        root[key.substr(0, dot)].erase(key.substr(dot + 1));
    }
    if (settings.train.data.empty()) root.erase("train"); // a train section without data is an error
    return root;
}

YamlNode node_of(const nlohmann::json& json, int depth = 0) {
    YamlNode node;
    if (depth > 64) throw Error::data("configuration: expected at most 64 levels of nesting, got more");
    if (json.is_object()) {
        node.kind = YamlNode::Kind::map;
        for (const auto& [key, value] : json.items())
            node.entries.push_back({key, {}, node_of(value, depth + 1)});
    } else if (json.is_array()) {
        node.kind = YamlNode::Kind::list;
        for (const auto& value : json) node.items.push_back(node_of(value, depth + 1));
    } else if (!json.is_null()) {
        node.kind = YamlNode::Kind::scalar;
        node.quoted = json.is_string();
        node.text = json.is_string() ? json.get<std::string>() : json.dump();
    }
    return node;
}

std::string flow(const Json& json) {
    std::vector<std::string> parts;
    if (json.is_object()) {
        for (const auto& [key, value] : json.items()) parts.push_back(yaml_string(key) + ": " + flow(value));
        return "{" + join(parts, ", ") + "}";
    }
    if (json.is_array()) {
        for (const auto& value : json) parts.push_back(flow(value));
        return "[" + join(parts, ", ") + "]";
    }
    // a resolved string is not expanded again when it is read back
    if (json.is_string()) return yaml_string(replace_all(json.get<std::string>(), "${", "$${"));
    return json.dump();
}

} // namespace

nlohmann::json settings_json(const RunSettings& settings) {
    return nlohmann::json::parse(dump(settings).dump());
}

RunSettings settings_from_json(const nlohmann::json& json) {
    RunSettings settings;
    std::vector<std::string> errors;
    YamlNode root = node_of(json);
    if (!root.is_map()) throw Error::data("configuration: expected an object, got ", root.describe());
    read_settings(root, settings, nullptr, {"schema_version"},
                  [&](const YamlPlace&, const std::string& key, const std::string& message,
                      const std::string&) { errors.push_back(key + ": " + message); });
    if (!errors.empty()) throw Error::data("configuration: ", join(errors, "; "));
    finish_settings(settings);
    return settings;
}

std::string settings_yaml(const RunSettings& settings) {
    std::string out = "schema_version: 1\n";
    const Json root = dump(settings);
    for (const auto& [key, value] : root.items()) {
        if (!value.is_object() || value.empty()) {
            out += key + ": " + flow(value) + "\n";
            continue;
        }
        out += key + ":\n";
        for (const auto& [name, inner] : value.items()) out += "  " + name + ": " + flow(inner) + "\n";
    }
    return out;
}

} // namespace dorabench
