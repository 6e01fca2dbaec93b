// The JSON Schema of experiment files, for editors; made from the same visit() that reads them.
#include "harness/config/fields.h"
#include <nlohmann/json.hpp>

namespace dorabench {

namespace {

using Json = nlohmann::ordered_json;

class SchemaWriter final : public Fields {
public:
    Json properties = Json::object();
    Json by_key = Json::object(); // dotted key → its schema, for the sweep's axes

    void begin(const char* section, const char* help) override {
        section_ = section;
        properties[section] = object(Json::object());
        properties[section]["description"] = help;
        at_ = &properties[section]["properties"];
    }
    void end() override {
        Json one_of_two = Json::array();
        for (const auto& [one, other] : twin_keys())
            if (one.compare(0, section_.size() + 1, section_ + ".") == 0)
                one_of_two.push_back(
                    {{"not",
                      {{"required", {one.substr(section_.size() + 1), other.substr(section_.size() + 1)}}}}});
        if (!one_of_two.empty()) properties[section_]["allOf"] = one_of_two;
        section_.clear();
        at_ = &properties;
    }
    void field(const char* key, std::string& value, const Rule& rule) override {
        Json type = text(rule);
        add(key, rule, type, rule.twin || value.empty() ? Json() : Json(value));
    }
    void field(const char* key, bool& value, const Rule& rule) override {
        add(key, rule, {{"type", "boolean"}}, value);
    }
    void field(const char* key, int64_t& value, const Rule& rule) override {
        add(key, rule, number("integer", rule), rule.twin ? Json() : Json(value));
    }
    void field(const char* key, uint64_t& value, const Rule& rule) override {
        Json seed{{"type", "integer"}, {"minimum", 0}};
        add(key, rule, {{"anyOf", {seed, list(seed)}}}, value);
    }
    void field(const char* key, double& value, const Rule& rule) override {
        add(key, rule, number("number", rule), rule.twin ? Json() : Json(value));
    }
    void field(const char* key, std::optional<double>&, const Rule& rule) override {
        add(key, rule, number("number", rule), Json());
    }
    void field(const char* key, std::vector<std::string>&, const Rule& rule) override {
        add(key, rule, list(text(rule)), Json());
    }
    void field(const char* key, std::map<std::string, std::string>&, const Rule& rule) override {
        add(key, rule, {{"type", "object"}}, Json());
    }
    void field(const char* key, std::vector<std::pair<std::string, int64_t>>&, const Rule& rule) override {
        add(key, rule, patterns(number("integer", rule)), Json());
    }
    void field(const char* key, std::vector<std::pair<std::string, double>>&, const Rule& rule) override {
        add(key, rule, patterns(number("number", rule)), Json());
    }
    void records(const char* key, const Records& records, const Rule& rule) override {
        Json element = Json::object();
        records.resize(1);
        Json* outer = std::exchange(at_, &element);
        std::string section = std::exchange(section_, "");
        inside_ = true;
        records.visit(*this, 0);
        inside_ = false;
        at_ = outer;
        section_ = section;
        records.resize(0);
        Json map = object(element), type = list(map);
        if (records.short_key) {
            Json name{{"type", "string"}}, either{{"anyOf", {name, map}}};
            type = {{"anyOf", {name, map, list(either)}}};
        }
        add(key, rule, type, Json());
    }
    void list_or_regex(const char* key, std::vector<std::string>&, std::string&, const Rule& rule) override {
        Json name{{"type", "string"}};
        add(key, rule, {{"anyOf", {name, list(name)}}}, Json());
    }
    void two_numbers(const char* key, double& first, double& second, const Rule& rule) override {
        Json type = list(number("number", rule));
        type["minItems"] = 2;
        type["maxItems"] = 2;
        add(key, rule, type, Json::array({first, second}));
    }
    void number_or_auto(const char* key, int64_t&, const Rule& rule) override {
        Json automatic{{"enum", {"auto"}}};
        add(key, rule, {{"anyOf", {automatic, number("integer", rule)}}}, "auto");
    }

    static Json object(const Json& properties) {
        return {{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
    }
    static Json list(const Json& items) { return {{"type", "array"}, {"items", items}}; }

private:
    static Json patterns(const Json& value) {
        Json map{{"type", "object"}, {"additionalProperties", value}};
        return {{"anyOf", {map, list(map)}}};
    }
    static Json text(const Rule& rule) {
        Json type{{"type", "string"}};
        if (!rule.choices.empty() && !rule.or_path) type["enum"] = rule.choices;
        if (rule.choices.empty() || !rule.or_path) return type;
        type["examples"] = rule.choices;
        return type;
    }
    static Json number(const char* kind, const Rule& rule) {
        Json type{{"type", kind}};
        if (rule.at_least) type["minimum"] = *rule.at_least;
        if (rule.above) type["exclusiveMinimum"] = *rule.above;
        if (rule.at_most) type["maximum"] = *rule.at_most;
        if (rule.below) type["exclusiveMaximum"] = *rule.below;
        return type;
    }
    // null means "not given" everywhere, and any value may come from an environment variable
    void add(const char* key, const Rule& rule, const Json& type, const Json& otherwise) {
        Json variable{{"type", "string"}, {"pattern", "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}"}};
        Json schema{{"description", rule.help}, {"anyOf", {type, {{"type", "null"}}, variable}}};
        if (rule.pattern) schema["anyOf"][0]["pattern"] = std::string("^(") + rule.pattern + ")$";
        if (!otherwise.is_null()) schema["default"] = otherwise;
        (*at_)[key] = schema;
        if (!inside_) by_key[section_.empty() ? key : section_ + "." + key] = schema;
    }

    Json* at_ = &properties;
    std::string section_;
    bool inside_ = false;
};

} // namespace

std::string config_schema() {
    SchemaWriter writer;
    RunSettings defaults;
    visit(writer, defaults);
    std::vector<FeatureSettings> features(1);
    visit(writer, features);
    writer.by_key.erase("features"); // no axis of a sweep
    Json axes = Json::object();
    for (const auto& [key, schema] : writer.by_key.items()) axes[key] = SchemaWriter::list(schema);
    Json zip = SchemaWriter::object(axes), name{{"type", "string"}};
    axes["zip"] = {{"description", "axes of equal length that move together"},
                   {"anyOf", {zip, SchemaWriter::list(zip)}}};
    Json sweep = SchemaWriter::object(axes);
    sweep["description"] = "the Cartesian product of these axes";
    Json& all = writer.properties;
    all["include"] = {{"description", "files to merge first, in order"},
                      {"anyOf", {name, SchemaWriter::list(name)}}};
    all["sweep"] = sweep;
    all["select"] = SchemaWriter::object({{"over", name}, {"by", {{"enum", {"validation.loss"}}}}});
    Json budget{{"type", {"string", "number"}}};
    all["match"] =
        SchemaWriter::object({{"trainable", budget}, {"stored_bytes", budget}, {"memory", budget}});
    all["schema_version"] = {{"const", 1}};
    Json schema = SchemaWriter::object(all);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#";
    schema["title"] = "dora-bench experiment";
    return schema.dump(2) + "\n";
}

} // namespace dorabench
