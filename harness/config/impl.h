#pragma once
// What a ConfigFile holds, and the steps of its making: load.cpp (files, includes, merging, overrides),
// sweep.cpp (axes), config.cpp (reading and checking one run).
#include "harness/base/yaml.h"
#include "harness/config/reader.h"
#include <set>

namespace dorabench {

enum class Layer { included, own, command_line };

struct Source {        // one text that settings came from
    std::string shown; // the file as the user gave it, or "command line"
    std::vector<std::string> lines;
    std::string included_from; // "x.yaml:1:11"
    Layer layer = Layer::own;
};

struct ConfigFile::Impl {
    std::string path;
    YamlNode root; // merged, variables expanded; without include, sweep, select and match
    YamlNode apart; // sweep, select and match, for their places
    std::vector<Source> sources;
    SweepSettings sweep;
    std::map<std::string, std::vector<std::pair<std::string, YamlNode>>>
        axis_values;                // YAML text → where it stands
    std::vector<Diagnostic> errors; // found while loading, reported together with what parse() finds
    std::set<std::pair<int, int>>
        broken;              // (source, line * 65536 + column) of values with an error already reported
    bool incomplete = false; // an include is missing: what is absent may stand there

    Diagnostic diagnostic(const YamlPlace& place, std::string key, std::string message,
                          std::string suggestion) const;
    void report(const YamlPlace& place, std::string key, std::string message, std::string suggestion = "");
    bool is_broken(const YamlPlace& place) const;
    void mark_broken(const YamlPlace& place);
    int add_source(Source source);
    // One value of the command line as YAML; null and a report when it is none.
    YamlNode parse_argument(const std::string& shown, const std::string& yaml, const std::string& key);
    Layer layer_of(const YamlPlace& place) const;
};

// load.cpp
YamlNode load_layers(ConfigFile::Impl& impl, const std::string& path);
void apply_override(ConfigFile::Impl& impl, YamlNode& root, const std::string& text);
void expand_variables(ConfigFile::Impl& impl, YamlNode& node, const std::string& key);
// Paths of plug-ins made absolute, those of the command line added.
void take_plugins(ConfigFile::Impl& impl, const std::vector<std::string>& extra);
// sweep.cpp: takes sweep, select, match and a list of seeds out of the root
void take_sweep(ConfigFile::Impl& impl, const std::vector<std::string>& axes);
// features.cpp: the section `features`, with what concerns several of its keys
void read_features(const YamlNode& root, std::vector<FeatureSettings>& features, const Report& report);
// checks.cpp: what concerns several keys, and paths
void check_settings(const YamlNode& root, RunSettings& settings, const KnownNames& names, const Report& report);
void finish_settings(RunSettings& settings); // alpha from scaling
// methods.cpp: removes keys that the run's method or backend does not use; swept: keys that the sweep brings
void drop_unused(const ConfigFile::Impl& impl, YamlNode& root, const std::set<std::string>& swept,
                 const Report& report);
std::vector<std::string>
method_and_backend_unused(const RunSettings& settings); // dotted keys that are not dumped

// Paths into a tree: "adapter.rank". A sweep's own keys hold dots: what follows "sweep." is one key.
std::vector<std::string> split_key(const std::string& key);
const YamlEntry* find_entry(const YamlNode& root, const std::string& key);
YamlPlace place_of(const YamlNode& root,
                   const std::string& key); // of the value; of the nearest section when absent
// Puts a value there, making sections on the way; takes the twin away.
void set_value(YamlNode& root, const std::string& key, const YamlNode& value, const YamlPlace& place);
void erase_key(YamlNode& root, const std::string& key);

} // namespace dorabench
