#pragma once
// Records of a data file: a JSON array, or one JSON object after another (JSON lines), gzipped or not, with
// or without a byte order mark. Records are parsed one at a time, so that memory holds the text and one
// record, not a tree of all.
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dorabench {

// number: 1-based. Return false to stop reading. Error::data ("file:record 12: …") for what is not JSON,
// nested deeper than 64, not UTF-8, or no object; a file without any record is an error too.
using OnRecord = std::function<bool(size_t number, const nlohmann::json& record)>;
void for_each_record(const std::string& path, const OnRecord& on_record);

std::string record_place(const std::string& path, size_t number); // "boolq.json:record 12"

// A field that must be there and be a string; Error::data names place, field and what is there instead.
std::string string_field(const nlohmann::json& record, const std::string& field, const std::string& place);
// The same, "" when absent or null.
std::string optional_string_field(const nlohmann::json& record, const std::string& field,
                                  const std::string& place);
std::string as_text(const nlohmann::json& value);   // strings as they are, other values as JSON text
std::string json_kind(const nlohmann::json& value); // "a string", "an array", … for messages

} // namespace dorabench
