// schema: JSON Schema (draft 7) of experiment files and of a run's metrics.json, for editors and other
// programs.
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "harness/config/config.h"
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using Json = nlohmann::ordered_json;

Json typed(const char* type, const char* help) { return {{"type", type}, {"description", help}}; }

// Missing is null, never a sentinel.
Json or_null(const char* type, const char* help) {
    return {{"type", Json::array({type, "null"})}, {"description", help}};
}

Json measurement() {
    Json ci{{"type", Json::array({"array", "null"})},
            {"items", {{"type", Json::array({"number", "null"})}}},
            {"minItems", 2},
            {"maxItems", 2}};
    return {{"type", "object"},
            {"required", {"value", "stderr", "ci95", "n"}},
            {"properties",
             {{"value", or_null("number", "a fraction, never a percent")},
              {"stderr", or_null("number", "standard error")},
              {"ci95", ci},
              {"n", typed("integer", "samples")}}}};
}

// A task holds its metrics by name beside these.
Json task() {
    return {{"type", "object"},
            {"properties",
             {{"unparsed", typed("integer", "answers in which none was found")},
              {"chance", or_null("number", "accuracy of guessing")},
              {"below_chance", or_null("boolean", "is the result worse than guessing?")}}},
            {"additionalProperties",
             {{"anyOf", {measurement(), {{"type", Json::array({"string", "number", "boolean", "null"})}}}}}}};
}

Json check() {
    return {{"type", "object"},
            {"properties",
             {{"status", {{"type", "string"}, {"description", "passed, failed, reported or not applicable"}}},
              {"value", or_null("number", "what was measured")},
              {"message", typed("string", "in words")}}}};
}

std::string result_schema() {
    Json tasks{{"type", "object"}, {"additionalProperties", task()}};
    Json checks{{"type", "object"}, {"additionalProperties", check()}};
    Json properties{{"schema_version", typed("integer", "of this format")},
                    {"run", typed("string", "the run's id: a hash of what defines its result")},
                    {"status", typed("string", "how far the run came")},
                    {"method", typed("string", "none, ft, lora, dora, vera, dvora or a plug-in's")},
                    {"rank", or_null("integer", "null where the method has none")},
                    {"seed", typed("integer", "of every random stream")},
                    {"trainable", typed("integer", "trained parameters")},
                    {"total", typed("integer", "base and trained adapter parameters")},
                    {"percent_of_total", or_null("number", "100 * trainable / total")},
                    {"stored_bytes", or_null("integer", "of the saved adapter")},
                    {"train_seconds", or_null("number", "spent in training steps")},
                    {"peak_memory_bytes", or_null("integer", "the largest in use")},
                    {"tasks", tasks},
                    {"average", or_null("number", "of the tasks' primary metrics")},
                    {"checks", checks}};
    Json required = Json::array();
    for (const auto& [key, value] : properties.items()) required.push_back(key);
    Json schema{{"$schema", "http://json-schema.org/draft-07/schema#"},
                {"title", "dora-bench metrics.json"},
                {"type", "object"},
                {"required", required},
                {"properties", properties}};
    return schema.dump(2) + "\n";
}

} // namespace

int schema_command(const std::string& what, const Globals&) {
    if (what == "config")
        std::cout << config_schema();
    else if (what == "result")
        std::cout << result_schema();
    else
        throw Error::config("schema: expected config or result, got \"", what, "\"",
                            did_you_mean(what, {"config", "result"}));
    return 0;
}

} // namespace dorabench
