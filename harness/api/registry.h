#pragma once
// Named factories. Filled by register_… functions that builtin.cpp calls in a visible list, then read only.
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <map>
#include <string>
#include <vector>

namespace dorabench {

template <typename Factory>
class Registry {
public:
    explicit Registry(std::string noun) : noun_(std::move(noun)) {}
    // What is added from now on comes from there (a plug-in's path), whatever its factory says; "": it says.
    void set_origin(const std::string& origin) { origin_ = origin; }
    void add(Factory factory) {
        if (!origin_.empty()) factory.origin = origin_;
        auto [at, fresh] = entries_.emplace(factory.name, factory);
        if (!fresh)
            throw Error(ErrorKind::plugin, cat("two ", noun_, "s are called \"", factory.name,
                                               "\": ", at->second.origin, " and ", factory.origin));
    }
    bool has(const std::string& name) const { return entries_.count(name) > 0; }
    const Factory& get(const std::string& name) const {
        auto at = entries_.find(name);
        if (at == entries_.end())
            throw Error::config("no ", noun_, " is called \"", name, "\"", did_you_mean(name, names()));
        return at->second;
    }
    std::vector<std::string> names() const {
        std::vector<std::string> out;
        for (const auto& [name, entry] : entries_) out.push_back(name);
        return out;
    }

private:
    std::string noun_, origin_;
    std::map<std::string, Factory> entries_;
};

} // namespace dorabench
