#include "tasks/records.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"

namespace dorabench {

namespace {

using nlohmann::json;
constexpr int kDeepest = 64; // of nesting: records are flat; a file of brackets must not exhaust the stack
constexpr size_t npos = std::string_view::npos;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

size_t skip_space(std::string_view text, size_t at) {
    while (at < text.size() && is_space(text[at])) ++at;
    return at;
}

// The end of the JSON value that begins at `at`, by its brackets and strings alone; npos when it does not
// end.
size_t value_end(std::string_view text, size_t at, const std::string& place) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = at; i < text.size(); ++i) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') ++i;
            if (c == '"') in_string = false;
            if (in_string || depth > 0) continue;
            return i + 1;
        }
        if (c == '"') in_string = true;
        if (c == '{' || c == '[')
            if (++depth > kDeepest) throw Error::data(place, ": nested deeper than ", kDeepest, " levels");
        if (c == '}' || c == ']') {
            if (depth == 0) return i; // the array's own end, behind a bare value
            if (--depth == 0) return i + 1;
        }
        if (depth == 0 && c == ',') return i;
    }
    return depth > 0 || in_string ? npos : text.size();
}

// nlohmann's messages begin with a tag in brackets, which says nothing to a reader.
std::string parse_message(const json::exception& error) {
    std::string message = error.what();
    size_t end = message.find("] ");
    return end == npos ? message : message.substr(end + 2);
}

bool give(std::string_view text, size_t number, const std::string& path, const OnRecord& on_record) {
    json record;
    try {
        record = json::parse(text);
    } catch (const json::exception& error) {
        throw Error::data(record_place(path, number), ": expected a JSON object: ", parse_message(error));
    }
    if (!record.is_object())
        throw Error::data(record_place(path, number), ": expected a JSON object, got ", json_kind(record));
    return on_record(number, record);
}

void read_array(std::string_view text, size_t at, const std::string& path, const OnRecord& on_record) {
    size_t number = 0;
    at = skip_space(text, at + 1);
    if (at < text.size() && text[at] == ']')
        throw Error::data(path, ": expected records, got an empty array");
    for (;;) {
        std::string place = record_place(path, ++number);
        size_t end = value_end(text, at, place);
        if (end == npos) throw Error::data(place, ": the file ends inside this record (truncated?)");
        if (!give(text.substr(at, end - at), number, path, on_record)) return;
        at = skip_space(text, end);
        if (at < text.size() && text[at] == ']') break;
        if (at >= text.size() || text[at] != ',')
            throw Error::data(place, at >= text.size() ? ": the file ends behind this record, without ]"
                                                       : ": expected , or ] behind this record");
        at = skip_space(text, at + 1);
    }
    if (skip_space(text, at + 1) < text.size())
        throw Error::data(path, ": expected nothing behind the array's ]");
}

// One object a line where the first one ends on its line, so that a broken line is named and not run into the
// next; otherwise objects over several lines, one behind the other.
void read_objects(std::string_view text, size_t at, const std::string& path, const OnRecord& on_record) {
    auto line_end = [&] { return std::min(text.find('\n', at), text.size()); };
    bool lines = value_end(text.substr(0, line_end()), at, record_place(path, 1)) != npos;
    for (size_t number = 1; at < text.size(); ++number) {
        std::string place = record_place(path, number);
        size_t end = value_end(lines ? text.substr(0, line_end()) : text, at, place);
        if (end == npos && !lines)
            throw Error::data(place, ": the file ends inside this record (truncated?)");
        if (lines) end = line_end(); // with whatever stands behind the object, which the parser refuses
        if (!give(text.substr(at, end - at), number, path, on_record)) return;
        at = skip_space(text, end);
    }
}

} // namespace

void for_each_record(const std::string& path, const OnRecord& on_record) {
    std::string content = read_file(path);
    std::string_view text = content;
    if (starts_with(text, "\xEF\xBB\xBF")) text.remove_prefix(3);
    size_t at = skip_space(text, 0);
    if (at == text.size()) throw Error::data(path, ": expected records, got an empty file");
    if (text[at] == '[') return read_array(text, at, path, on_record);
    if (text[at] == '{') return read_objects(text, at, path, on_record);
    throw Error::data(
        path, ": expected a JSON array of records or one JSON object a line, got text that begins with \"",
        std::string(text.substr(at, std::min(invalid_utf8(text.substr(at, 16)), size_t(16)))), "\"");
}

std::string record_place(const std::string& path, size_t number) { return cat(path, ":record ", number); }

std::string json_kind(const json& value) {
    switch (value.type()) {
    case json::value_t::null:
        return "null";
    case json::value_t::object:
        return "an object";
    case json::value_t::array:
        return "an array";
    case json::value_t::string:
        return "a string";
    case json::value_t::boolean:
        return "a boolean";
    default:
        return "a number";
    }
}

std::string string_field(const json& record, const std::string& field, const std::string& place) {
    auto at = record.find(field);
    if (at == record.end()) {
        std::vector<std::string> keys;
        for (const auto& [key, value] : record.items()) keys.push_back(key);
        throw Error::data(place, ": no key \"", field, "\"", did_you_mean(field, keys));
    }
    if (!at->is_string()) throw Error::data(place, ": ", field, ": expected a string, got ", json_kind(*at));
    return at->get<std::string>();
}

std::string optional_string_field(const json& record, const std::string& field, const std::string& place) {
    auto at = record.find(field);
    return at == record.end() || at->is_null() ? "" : string_field(record, field, place);
}

std::string as_text(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

} // namespace dorabench
