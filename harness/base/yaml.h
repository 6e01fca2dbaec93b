#pragma once
// YAML (and the JSON that is YAML) as a tree of values that know where they stand. Hides yaml-cpp and closes
// its gaps: duplicate keys are errors, `<<` is resolved, places are 1-based, keys have places of their own,
// quoted scalars stay strings, and hostile input (deep nesting, alias bombs, huge or binary files) is refused
// instead of eating the machine.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

struct YamlPlace {
    int source = -1;          // whose text this is: an index the caller gives to parse_yaml
    int line = 0, column = 0; // 1-based, columns count code points
};

struct YamlEntry;

struct YamlNode {
    enum class Kind { null, scalar, list, map };
    Kind kind = Kind::null;
    std::string text;    // scalar: as written, escapes resolved
    bool quoted = false; // scalar: quoted, a block or tagged !!str: a string whatever it looks like
    YamlPlace place;     // of the value
    std::vector<YamlNode> items;
    std::vector<YamlEntry> entries; // in the file's order

    bool is_null() const { return kind == Kind::null; }
    bool is_map() const { return kind == Kind::map; }
    bool is_list() const { return kind == Kind::list; }
    bool is_scalar() const { return kind == Kind::scalar; }
    const YamlEntry* find(std::string_view key) const; // null when absent or not a map
    YamlEntry* find(std::string_view key);

    // The scalar's type by YAML 1.2's core schema (yes, no, on and off are strings); nothing for a quoted
    // one.
    std::optional<bool> as_bool() const;
    std::optional<int64_t> as_integer() const; // nothing where it does not fit
    std::optional<uint64_t> as_unsigned() const;
    std::optional<double> as_number() const; // integers too; finite only
    bool is_string() const;                  // a scalar that is none of the above
    std::string describe() const;            // for messages: the string "eight", 8, true, null, a list, a map
};

struct YamlEntry {
    std::string key;
    YamlPlace key_place;
    YamlNode value;
};

struct YamlError {
    YamlPlace place;
    std::string key, message, suggestion;
}; // key: dotted, where one is known

// One document. What is wrong goes to errors (every duplicate key; the first syntax error, after which the
// tree is null).
YamlNode parse_yaml(std::string_view text, int source, std::vector<YamlError>& errors);
// Flow text on one line that parses back to the same tree (places aside).
std::string yaml_flow(const YamlNode& node);
// A string as a YAML scalar: plain where that is safe, else double-quoted.
std::string yaml_string(std::string_view text);

} // namespace dorabench
