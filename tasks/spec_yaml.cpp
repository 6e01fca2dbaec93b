#include "tasks/spec_yaml.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <cmath>
#include <cstdlib>

namespace dorabench {

SpecMap SpecMap::open(const std::string& path) {
    std::string text = read_file(path, size_t(1) << 20);
    try {
        return {path, "", YAML::Load(text)};
    } catch (const YAML::Exception& error) {
        throw Error::config(path, ":", error.mark.line + 1, ":", error.mark.column + 1, ": ", error.msg);
    }
}

SpecMap::SpecMap(std::string path, std::string prefix, const YAML::Node& node)
    : path_(std::move(path)), prefix_(std::move(prefix)) {
    if (!node.IsMap())
        throw Error::config(place(node.Mark()), prefix_.empty() ? std::string() : prefix_ + ": ",
                            "expected a mapping of keys to values");
    for (const auto& item : node) {
        if (!item.first.IsScalar()) throw Error::config(place(item.first.Mark()), "expected a plain key");
        std::string name = item.first.Scalar();
        if (has(name)) throw Error::config(place(item.first.Mark()), prefix_, name, ": stands twice");
        entries_.push_back({item.second, item.first.Mark(), name});
    }
}

std::string SpecMap::place(const YAML::Mark& mark) const {
    if (mark.is_null()) return path_ + ": ";
    return cat(path_, ":", mark.line + 1, ":", mark.column + 1, ": ");
}

const SpecMap::Entry* SpecMap::entry(const std::string& key) const {
    for (const Entry& e : entries_)
        if (e.name == key) return &e;
    return nullptr;
}

SpecMap::Entry* SpecMap::entry(const std::string& key) {
    known_.push_back(key);
    for (Entry& e : entries_)
        if (e.name == key) {
            e.taken = true;
            return &e;
        }
    return nullptr;
}

bool SpecMap::has(const std::string& key) const { return entry(key) != nullptr; }

bool SpecMap::is_list(const std::string& key) const {
    const Entry* e = entry(key);
    return e && e->value.IsSequence();
}

void SpecMap::fail(const std::string& key, const std::string& message) const {
    const Entry* e = entry(key);
    throw Error::config(e ? place(e->value.Mark()) : path_ + ": ", prefix_, key, ": ", message);
}

std::string SpecMap::scalar(const Entry& e) const {
    if (!e.value.IsScalar())
        fail(e.name, e.value.IsNull() ? "expected a value, got nothing" : "expected one value");
    return e.value.Scalar();
}

void SpecMap::take(const std::string& key, std::string& out) {
    if (Entry* e = entry(key)) out = scalar(*e);
}

void SpecMap::take(const std::string& key, int64_t& out, int64_t low, int64_t high) {
    double value = static_cast<double>(out);
    take(key, value, static_cast<double>(low), static_cast<double>(high));
    if (value != std::floor(value)) fail(key, cat("expected a whole number, got ", value));
    out = static_cast<int64_t>(value);
}

void SpecMap::take(const std::string& key, double& out, double low, double high) {
    Entry* e = entry(key);
    if (!e) return;
    std::string text = scalar(*e);
    char* end = nullptr;
    double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end) fail(key, cat("expected a number, got \"", text, "\""));
    if (!(value >= low && value <= high)) fail(key, cat("expected ", low, " to ", high, ", got ", text));
    out = value;
}

void SpecMap::take(const std::string& key, bool& out) {
    Entry* e = entry(key);
    if (!e) return;
    std::string text = scalar(*e);
    if (text != "true" && text != "false") fail(key, cat("expected true or false, got \"", text, "\""));
    out = text == "true";
}

void SpecMap::take(const std::string& key, std::vector<std::string>& out) {
    Entry* e = entry(key);
    if (!e) return;
    out.clear();
    if (!e->value.IsSequence()) {
        out.push_back(scalar(*e));
        return;
    }
    for (const auto& item : e->value) {
        if (!item.IsScalar())
            throw Error::config(place(item.Mark()), prefix_, key, ": expected a list of plain values");
        out.push_back(item.Scalar());
    }
    if (out.empty()) fail(key, "expected at least one value, got an empty list");
}

void SpecMap::take_choice(const std::string& key, const std::vector<std::string>& allowed,
                          const std::function<void(size_t)>& chosen) {
    Entry* e = entry(key);
    if (!e) return;
    std::string text = scalar(*e);
    for (size_t i = 0; i < allowed.size(); ++i)
        if (allowed[i] == text) return chosen(i);
    fail(key, cat("expected ", join(allowed, ", "), ", got \"", text, "\"", did_you_mean(text, allowed)));
}

void SpecMap::take_map(const std::string& key, const std::function<void(SpecMap&)>& read) {
    Entry* e = entry(key);
    if (!e) return;
    SpecMap inner(path_, prefix_ + key + ".", e->value);
    read(inner);
    inner.finish();
}

void SpecMap::finish() const {
    for (const Entry& e : entries_)
        if (!e.taken)
            throw Error::config(place(e.key_mark), prefix_, e.name, ": no such key",
                                did_you_mean(e.name, known_), "; there are ", join(known_, ", "));
}

} // namespace dorabench
