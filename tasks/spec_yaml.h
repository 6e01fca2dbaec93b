#pragma once
// A YAML mapping whose every key must be known: keys are taken by name, and finish() refuses what nobody
// took. Errors are Error::config with file:line:column (1-based; of the key for an unknown one, of the value
// otherwise).
#include <functional>
#include <memory>
#include <string>
#include <vector>
#include <yaml-cpp/yaml.h>

namespace dorabench {

class SpecMap {
public:
    static SpecMap open(const std::string& path); // the file's top-level mapping
    bool has(const std::string& key) const;
    // Each leaves `out` as it is when the key is absent.
    void take(const std::string& key, std::string& out);
    void take(const std::string& key, int64_t& out, int64_t low, int64_t high);
    void take(const std::string& key, double& out, double low, double high);
    void take(const std::string& key, bool& out);
    void take(const std::string& key, std::vector<std::string>& out); // a list, or one string
    void take_choice(const std::string& key, const std::vector<std::string>& allowed,
                     const std::function<void(size_t)>& chosen);
    bool is_list(const std::string& key) const;
    void take_map(const std::string& key,
                  const std::function<void(SpecMap&)>& read); // finishes the inner map
    void finish() const;                                      // Error::config for a key that nobody took
    [[noreturn]] void fail(const std::string& key, const std::string& message) const;

private:
    SpecMap(std::string path, std::string prefix, const YAML::Node& node);
    struct Entry {
        YAML::Node value;
        YAML::Mark key_mark;
        std::string name;
        bool taken = false;
    };
    Entry* entry(const std::string& key);
    const Entry* entry(const std::string& key) const;
    std::string scalar(const Entry& entry) const;
    std::string place(const YAML::Mark& mark) const;
    std::string path_, prefix_;
    std::vector<Entry> entries_;
    std::vector<std::string> known_; // every key that was asked for
};

} // namespace dorabench
