#pragma once
// The one description of an experiment file's keys. visit() names every field once, with its type, bounds,
// allowed values and help; a Fields does something with each: the reader fills it from YAML, the writer dumps
// it, the schema writer describes it, the lister collects its path.
#include "harness/config/config.h"
#include <functional>

namespace dorabench {

struct Rule {
    const char* help = "";
    std::optional<double> at_least, above, at_most, below; // bounds of numbers
    std::vector<std::string> choices;                      // allowed strings; empty: any
    std::vector<std::string> KnownNames::*names = nullptr; // allowed strings that plug-ins and specs bring
    const char* pattern = nullptr;                         // regular expression over the whole string
    bool or_path = false;                                  // beside choices: a path
    bool or_file = false; // beside names: a .yaml, .json or .jsonl file (gzip too)
    bool required = false;
    bool nullable = false; // the empty string is written as null
    bool* given = nullptr; // set when the key stands in the file; a key not given is not written
    bool twin = false;     // one of a pair of which one is given: zero or empty is not written
};

class Fields;

// A list of small maps. With short_key a bare string stands for {short_key: string}, and one element for a
// list of one.
struct Records {
    std::function<size_t()> size;
    std::function<void(size_t)> resize;
    std::function<void(Fields&, size_t)> visit;
    const char* short_key = nullptr;
};

class Fields {
public:
    virtual ~Fields() = default;
    virtual void begin(const char* section, const char* help) = 0;
    virtual void end() = 0;
    virtual void field(const char* key, std::string& value, const Rule& rule) = 0;
    virtual void field(const char* key, bool& value, const Rule& rule) = 0;
    virtual void field(const char* key, int64_t& value, const Rule& rule) = 0;
    virtual void field(const char* key, uint64_t& value, const Rule& rule) = 0;
    virtual void field(const char* key, double& value, const Rule& rule) = 0;
    virtual void field(const char* key, std::optional<double>& value, const Rule& rule) = 0;
    virtual void field(const char* key, std::vector<std::string>& value, const Rule& rule) = 0;
    virtual void field(const char* key, std::map<std::string, std::string>& value, const Rule& rule) = 0;
    virtual void field(const char* key, std::vector<std::pair<std::string, int64_t>>& value,
                       const Rule& rule) = 0;
    virtual void field(const char* key, std::vector<std::pair<std::string, double>>& value,
                       const Rule& rule) = 0;
    virtual void records(const char* key, const Records& records, const Rule& rule) = 0;
    virtual void list_or_regex(const char* key, std::vector<std::string>& list, std::string& regex,
                               const Rule&) = 0;
    virtual void two_numbers(const char* key, double& first, double& second, const Rule& rule) = 0;
    virtual void number_or_auto(const char* key, int64_t& value, const Rule& rule) = 0; // auto: 0
};

void visit(Fields& fields, RunSettings& settings);
void visit(Fields& fields, std::vector<FeatureSettings>& features); // the section `features`, which is beside a run

// Keys of which a file gives at most one; a later file's displaces an earlier one's.
const std::vector<std::pair<std::string, std::string>>& twin_keys();
std::string twin_of(const std::string& key); // "" for most keys

} // namespace dorabench
