#include "harness/config/reader.h"
#include "harness/base/text.h"
#include <regex>
#include <set>

namespace dorabench {

namespace {

// The number as a person wrote it in a rule: no ".000000".
std::string plain(double value) { return cat(value); }

std::string bounds_text(const Rule& rule) {
    std::vector<std::string> parts;
    if (rule.at_least) parts.push_back("of at least " + plain(*rule.at_least));
    if (rule.above) parts.push_back("above " + plain(*rule.above));
    if (rule.at_most) parts.push_back("at most " + plain(*rule.at_most));
    if (rule.below) parts.push_back("below " + plain(*rule.below));
    return parts.empty() ? "" : " " + join(parts, " and ");
}

bool in_bounds(double value, const Rule& rule) {
    return !(rule.at_least && value < *rule.at_least) && !(rule.above && value <= *rule.above) &&
           !(rule.at_most && value > *rule.at_most) && !(rule.below && value >= *rule.below);
}

class Reader final : public Fields {
public:
    Reader(const YamlNode& root, const KnownNames* names, const Report& report)
        : names_(names), report_(report) {
        levels_.push_back({&root, "", {}});
    }

    void allow(const std::string& key) { levels_.back().known.insert(key); }

    void begin(const char* section, const char*) override {
        const YamlNode* node = value_of(section);
        if (node && !node->is_map()) {
            wrong(section, *node, "expected a map of settings, got " + node->describe());
            node = nullptr;
        }
        levels_.push_back({node, path(section), {}});
    }

    void end() override {
        report_unknown();
        levels_.pop_back();
    }

    void report_unknown() {
        const Level& level = levels_.back();
        if (!level.node) return;
        std::vector<std::string> candidates(level.known.begin(), level.known.end());
        for (const auto& entry : level.node->entries) {
            if (level.known.count(entry.key)) continue;
            std::string near = suggest(entry.key, candidates);
            if (near.empty()) near = elsewhere(entry.key);
            if (near.empty() && candidates.size() < 16) near = "the keys here are " + join(candidates, ", ");
            report_(entry.key_place, path(entry.key), "no such key", near);
        }
    }

    void field(const char* key, std::string& value, const Rule& rule) override {
        const YamlNode* node = required_value(key, rule);
        if (!node) return;
        if (read_string(key, *node, value, rule) && rule.given) *rule.given = true;
    }

    void field(const char* key, bool& value, const Rule&) override {
        const YamlNode* node = value_of(key);
        if (!node) return;
        if (auto flag = node->as_bool()) {
            value = *flag;
            return;
        }
        std::string word = node->is_scalar() ? lower(node->text) : "", repair;
        if (word == "true" || word == "yes" || word == "on" || word == "1") repair = "write true";
        if (word == "false" || word == "no" || word == "off" || word == "0") repair = "write false";
        wrong(key, *node, "expected true or false, got " + node->describe(), repair);
    }

    void field(const char* key, int64_t& value, const Rule& rule) override {
        if (const YamlNode* node = value_of(key)) {
            if (read_integer(key, *node, value, rule) && rule.given) *rule.given = true;
        }
    }

    void field(const char* key, uint64_t& value, const Rule&) override {
        const YamlNode* node = value_of(key);
        if (!node) return;
        if (auto number = node->as_unsigned())
            value = *number;
        else
            wrong(key, *node, "expected an integer from 0 to 18446744073709551615, got " + node->describe());
    }

    void field(const char* key, double& value, const Rule& rule) override {
        if (const YamlNode* node = value_of(key)) {
            if (read_number(key, *node, value, rule) && rule.given) *rule.given = true;
        }
    }

    void field(const char* key, std::optional<double>& value, const Rule& rule) override {
        double number = 0;
        const YamlNode* node = value_of(key);
        if (node && read_number(key, *node, number, rule)) value = number;
    }

    void field(const char* key, std::vector<std::string>& value, const Rule& rule) override {
        const YamlNode* node = required_value(key, rule);
        if (!node) return;
        if (!node->is_list()) {
            wrong(key, *node, "expected a list of strings, got " + node->describe(),
                  node->is_string() ? "write [" + node->text + "]" : "");
            return;
        }
        read_strings(key, *node, value, rule);
    }

    void field(const char* key, std::map<std::string, std::string>& value, const Rule&) override {
        for_each_entry(key, [&](const YamlEntry& entry) {
            if (entry.value.is_scalar())
                value[entry.key] = entry.value.text;
            else
                wrong(key, entry.value,
                      "expected one value for " + entry.key + ", got " + entry.value.describe());
        });
    }

    void field(const char* key, std::vector<std::pair<std::string, int64_t>>& value,
               const Rule& rule) override {
        for_each_entry(key, [&](const YamlEntry& entry) {
            int64_t number = 0;
            if (read_integer(key, entry.value, number, rule)) value.emplace_back(entry.key, number);
        });
    }

    void field(const char* key, std::vector<std::pair<std::string, double>>& value,
               const Rule& rule) override {
        for_each_entry(key, [&](const YamlEntry& entry) {
            double number = 0;
            if (read_number(key, entry.value, number, rule)) value.emplace_back(entry.key, number);
        });
    }

    void records(const char* key, const Records& records, const Rule& rule) override {
        const YamlNode* node = required_value(key, rule);
        if (!node) return;
        std::vector<const YamlNode*> elements;
        if (node->is_list())
            for (const auto& item : node->items) elements.push_back(&item);
        else if (records.short_key)
            elements.push_back(node);
        else
            wrong(key, *node, "expected a list of maps, got " + node->describe());
        records.resize(elements.size());
        for (size_t i = 0; i < elements.size(); ++i) {
            const YamlNode& element = *elements[i];
            YamlNode wrapped;
            if (records.short_key && element.is_scalar()) {
                wrapped.kind = YamlNode::Kind::map;
                wrapped.place = element.place;
                wrapped.entries.push_back({records.short_key, element.place, element});
            }
            const YamlNode& map = wrapped.is_map() ? wrapped : element;
            if (!map.is_map()) {
                wrong(key, element,
                      cat("expected ", records.short_key ? "a string or a map" : "a map", ", got ",
                          element.describe()));
                continue;
            }
            levels_.push_back({&map, path(key), {}});
            short_ = wrapped.is_map();
            records.visit(*this, i);
            short_ = false;
            end();
        }
    }

    void list_or_regex(const char* key, std::vector<std::string>& list, std::string& regex,
                       const Rule& rule) override {
        const YamlNode* node = value_of(key);
        if (!node) return;
        if (node->is_list())
            read_strings(key, *node, list, rule);
        else if (node->is_string() && !node->text.empty())
            regex = node->text;
        else
            wrong(key, *node,
                  "expected a list of module names, or a regular expression as a string, got " +
                      node->describe());
    }

    void two_numbers(const char* key, double& first, double& second, const Rule& rule) override {
        const YamlNode* node = value_of(key);
        if (!node) return;
        if (!node->is_list() || node->items.size() != 2) {
            wrong(key, *node,
                  cat("expected a list of two numbers, got ",
                      node->is_list() ? cat("one of ", node->items.size()) : node->describe()));
            return;
        }
        read_number(key, node->items[0], first, rule);
        read_number(key, node->items[1], second, rule);
    }

    void number_or_auto(const char* key, int64_t& value, const Rule& rule) override {
        const YamlNode* node = value_of(key);
        if (!node) return;
        auto number = node->as_integer();
        if (node->is_string() && node->text == "auto")
            value = 0;
        else if (number && in_bounds(static_cast<double>(*number), rule))
            value = *number;
        else
            wrong(key, *node,
                  "expected auto or an integer" + bounds_text(rule) + ", got " + node->describe());
    }

private:
    struct Level {
        const YamlNode* node; // null: the section is absent
        std::string path;
        std::set<std::string> known;
    };

    std::string path(const std::string& key) const {
        // {task: boolq} written as boolq has no key of its own
        const std::string& section = levels_.back().path;
        return section.empty() ? key : short_ ? section : section + "." + key;
    }

    void wrong(const std::string& key, const YamlNode& node, std::string message,
               std::string suggestion = "") {
        report_(node.place, path(key), std::move(message), std::move(suggestion));
    }

    const YamlNode* value_of(const char* key) { // null: absent or null, the default holds
        Level& level = levels_.back();
        level.known.insert(key);
        if (!level.node) return nullptr;
        const YamlEntry* entry = level.node->find(key);
        return entry && !entry->value.is_null() ? &entry->value : nullptr;
    }

    const YamlNode* required_value(const char* key, const Rule& rule) {
        const YamlNode* node = value_of(key);
        const Level& level = levels_.back();
        if (!node && rule.required && level.node) {
            const YamlEntry* entry = level.node->find(key);
            report_(entry ? entry->value.place : level.node->place, path(key), "missing",
                    cat("give it: ", rule.help));
        }
        return node;
    }

    // A map, or a list of maps where the order matters to a reader that forgets it.
    void for_each_entry(const char* key, const std::function<void(const YamlEntry&)>& f) {
        const YamlNode* node = value_of(key);
        if (!node) return;
        for (const auto& item : node->items) {
            if (!item.is_map()) wrong(key, item, "expected a map, got " + item.describe());
            for (const auto& entry : item.entries) f(entry);
        }
        if (!node->is_map() && !node->is_list()) wrong(key, *node, "expected a map, got " + node->describe());
        for (const auto& entry : node->entries) f(entry);
    }

    bool read_integer(const char* key, const YamlNode& node, int64_t& value, const Rule& rule) {
        auto number = node.as_integer();
        if (!number || !in_bounds(static_cast<double>(*number), rule)) {
            wrong(key, node, "expected an integer" + bounds_text(rule) + ", got " + node.describe(),
                  unquote(node));
            return false;
        }
        value = *number;
        return true;
    }

    bool read_number(const char* key, const YamlNode& node, double& value, const Rule& rule) {
        auto number = node.as_number();
        if (!number || !in_bounds(*number, rule)) {
            wrong(key, node, "expected a number" + bounds_text(rule) + ", got " + node.describe(),
                  unquote(node));
            return false;
        }
        value = *number;
        return true;
    }

    static std::string unquote(const YamlNode& node) {
        YamlNode bare = node;
        bare.quoted = false;
        return node.quoted && bare.as_number() ? "leave out the quotes" : "";
    }

    bool read_string(const char* key, const YamlNode& node, std::string& value, const Rule& rule) {
        if (!node.is_string()) {
            wrong(key, node, expected_string(rule) + ", got " + node.describe(),
                  node.is_scalar() && rule.choices.empty() ? "quote it: \"" + node.text + "\"" : "");
            return false;
        }
        const std::string& text = node.text;
        if (!rule.choices.empty() && !rule.or_path &&
            std::find(rule.choices.begin(), rule.choices.end(), text) == rule.choices.end()) {
            wrong(key, node, expected_string(rule) + ", got \"" + text + "\"", suggest(text, rule.choices));
            return false;
        }
        if (rule.pattern && (text.size() > 200 || !std::regex_match(text, std::regex(rule.pattern)))) {
            wrong(key, node, cat("expected ", rule.help, ", got ", node.describe()));
            return false;
        }
        if (text.empty() && rule.required) {
            wrong(key, node, "expected a string that is not empty");
            return false;
        }
        if (!check_name(key, node, rule)) return false;
        value = text;
        return true;
    }

    bool check_name(const char* key, const YamlNode& node, const Rule& rule) {
        if (!rule.names || !names_ || node.text.empty() || (rule.or_file && is_data_file(node.text)))
            return true;
        const std::vector<std::string>& known = names_->*rule.names;
        if (known.empty() || std::find(known.begin(), known.end(), node.text) != known.end()) return true;
        std::string near = suggest(node.text, known);
        if (near.empty())
            near = known.size() <= 16 ? "known: " + join(known, ", ") : "`dora-bench list` names them";
        wrong(key, node, cat("unknown name \"", node.text, "\""), near);
        return false;
    }

    static std::string expected_string(const Rule& rule) {
        if (rule.choices.empty()) return "expected a string";
        return "expected " + join(rule.choices, ", ") + (rule.or_path ? " or a path" : "");
    }

    void read_strings(const char* key, const YamlNode& list, std::vector<std::string>& value,
                      const Rule& rule) {
        value.clear();
        for (const auto& item : list.items) {
            std::string text;
            if (item.is_string() && item.text.empty())
                wrong(key, item, "expected a string that is not empty");
            else if (read_string(key, item, text, rule))
                value.push_back(text);
        }
    }

    // A key in the wrong section: "rank" at the top means adapter.rank.
    std::string elsewhere(const std::string& key) const {
        for (const auto& known : config_keys())
            if (ends_with(known, "." + key)) return "did you mean \"" + known + "\"?";
        return "";
    }

    const KnownNames* names_;
    const Report& report_;
    std::vector<Level> levels_;
    bool short_ = false;
};

class Lister final : public Fields {
public:
    std::vector<std::string> keys;
    void begin(const char* section, const char*) override { prefix_ = cat(section, "."); }
    void end() override { prefix_.clear(); }
    void field(const char* key, std::string&, const Rule&) override { add(key); }
    void field(const char* key, bool&, const Rule&) override { add(key); }
    void field(const char* key, int64_t&, const Rule&) override { add(key); }
    void field(const char* key, uint64_t&, const Rule&) override { add(key); }
    void field(const char* key, double&, const Rule&) override { add(key); }
    void field(const char* key, std::optional<double>&, const Rule&) override { add(key); }
    void field(const char* key, std::vector<std::string>&, const Rule&) override { add(key); }
    void field(const char* key, std::map<std::string, std::string>&, const Rule&) override { add(key); }
    void field(const char* key, std::vector<std::pair<std::string, int64_t>>&, const Rule&) override {
        add(key);
    }
    void field(const char* key, std::vector<std::pair<std::string, double>>&, const Rule&) override {
        add(key);
    }
    void records(const char* key, const Records&, const Rule&) override { add(key); }
    void list_or_regex(const char* key, std::vector<std::string>&, std::string&, const Rule&) override {
        add(key);
    }
    void two_numbers(const char* key, double&, double&, const Rule&) override { add(key); }
    void number_or_auto(const char* key, int64_t&, const Rule&) override { add(key); }

private:
    void add(const char* key) { keys.push_back(prefix_ + key); }
    std::string prefix_;
};

} // namespace

void read_settings(const YamlNode& root, RunSettings& settings, const KnownNames* names,
                   const std::vector<std::string>& beside, const Report& report) {
    Reader reader(root, names, report);
    for (const auto& key : beside) reader.allow(key);
    visit(reader, settings);
    reader.report_unknown();
}

void read_feature_settings(const YamlNode& root, std::vector<FeatureSettings>& features, const Report& report) {
    Reader reader(root, nullptr, report);
    visit(reader, features);
}

std::vector<std::string> config_keys() {
    Lister lister;
    RunSettings settings;
    visit(lister, settings);
    return lister.keys;
}

std::string suggest(const std::string& word, const std::vector<std::string>& candidates) {
    std::string near = nearest(word, candidates);
    return near.empty() ? "" : "did you mean \"" + near + "\"?";
}

bool is_data_file(const std::string& name) {
    for (const char* suffix : {".yaml", ".yml", ".json", ".jsonl", ".json.gz", ".jsonl.gz"})
        if (ends_with(name, suffix)) return true;
    return false;
}

} // namespace dorabench
