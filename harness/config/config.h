#pragma once
// An experiment file: YAML with includes, environment variables and command-line overrides, read into
// RunSettings. All errors are collected, each with file, line and column (of the key for an unknown key, of
// the value otherwise), and thrown together. No torch, nothing read but YAML.
#include "harness/api/settings.h"
#include "harness/base/error.h"
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>

namespace dorabench {

struct Mark {
    std::string file;
    int line = 0, column = 0;
}; // 1-based; line 0: no place ("command line")

struct Diagnostic {
    Mark mark;
    std::string key;                // "adapter.rank"; empty for syntax errors
    std::string message;            // "no such key"; "expected an integer of at least 1, got \"eight\""
    std::string suggestion;         // `did you mean "rank"?` or what the repair is; may be empty
    std::string source = {};        // the line itself, for the caret; may be empty
    std::string included_from = {}; // "x.yaml:1:11" where the file is an included one
};

// file:line:column: key: message, the source line, a caret, the suggestion; all diagnostics in the file's
// order, each once.
class ConfigErrors : public Error {
public:
    explicit ConfigErrors(std::vector<Diagnostic> diagnostics);
    const std::vector<Diagnostic>& diagnostics() const { return diagnostics_; }

private:
    std::vector<Diagnostic> diagnostics_;
};

struct KnownNames { // what names may be used; filled by the composition root, so that config knows no plug-in
    std::vector<std::string> backends, methods, tasks, templates, metrics;
    std::vector<std::string> shapes; // of all backends
};

struct Assignment {
    std::string key, yaml;
}; // one axis value: "adapter.rank" = "8"

struct SweepSettings {
    std::vector<std::pair<std::string, std::vector<std::string>>>
        axes; // key → values as YAML text, file order (seed lists come first)
    std::vector<std::vector<std::pair<std::string, std::vector<std::string>>>>
        zips; // keys that move together
    std::optional<SelectSettings> select;
    std::vector<std::pair<std::string, std::string>> match; // {"trainable", "1%"}
};

class ConfigFile {
public:
    // Reads, includes, merges, expands ${VAR}, applies overrides. Throws ConfigErrors for syntax, duplicate
    // keys, unset variables and missing includes (all of them). Extra axes (--axis) are added to the sweep,
    // extra plug-ins (--plugin) to those of the file.
    static ConfigFile load(const std::string& path, const std::vector<std::string>& overrides,
                           const std::vector<std::string>& axes = {},
                           const std::vector<std::string>& plugins = {});
    // The shared objects of `plugins`, absolute: a relative path is looked for where the program was started,
    // then beside the file that names it. One that is not there stays as written.
    std::vector<std::string> plugins() const;
    // Checks keys, types, ranges and names, of the file and of every axis value, and appends what is wrong.
    RunSettings parse(const std::vector<Assignment>& assignments, const KnownNames& names,
                      std::vector<Diagnostic>& errors) const;
    // The section `features` and the data_dir, without a look at the rest; appends what is wrong with the section.
    std::vector<FeatureSettings> features(std::string& data_dir, std::vector<Diagnostic>& errors) const;
    const SweepSettings& sweep() const;
    Mark
    mark_of(const std::string& key) const; // of a key's value, for errors found later (plan, target modules)
    Diagnostic diagnostic(const std::string& key, std::string message, std::string suggestion = "") const;
    const std::string& path() const;

    struct Impl; // impl.h, for this folder's sources alone

private:
    std::shared_ptr<const Impl> impl_;
};

// Every key that means something for the method and backend, defaults included, in the contract's nesting; of
// twins (alpha and scaling, …) the one that was given.
nlohmann::json settings_json(const RunSettings& settings);
RunSettings settings_from_json(const nlohmann::json& json); // of a run folder's config
std::string
settings_yaml(const RunSettings& settings); // config.yaml of the run folder; loads back to the same settings
std::string config_schema();                // JSON Schema, draft 7, from the same field descriptions

// Keys that do not define the result of this run because its method, backend or quantisation does not use
// them
// ("adapter.alpha" for vera, "backend.double_quant" without nf4): left out of the run's identity. A section
// that is not used at all is named whole ("train" without data).
std::vector<std::string> unused_keys(const RunSettings& settings);
// Does a method use this key of the adapter section ("alpha")? True for methods that are not built in.
bool method_uses(const std::string& method, const std::string& key);
std::vector<std::string> config_keys(); // every dotted key of an experiment file, for completion and messages

} // namespace dorabench
