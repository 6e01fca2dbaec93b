#pragma once
// Reads the field's JSON files, of which one knows nothing beforehand: every access is checked, and an error
// names the file and the record. Gzipped files are read as they are.
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

namespace dorabench {

// One JSON document; or JSON lines, given as an array. Error::data for what is not JSON or is nested too
// deeply.
nlohmann::json read_json(const std::string& path);

// One JSON value with its place, for messages. Borrows the value.
class Record {
public:
    Record(const nlohmann::json& value, std::string place) : value_(&value), place_(std::move(place)) {}
    const nlohmann::json& value() const { return *value_; }
    const std::string& place() const { return place_; }
    bool has(const std::string& key) const; // there, and not null
    // Members; Error::data names key, place and what was found where the type is another.
    Record at(const std::string& key) const;
    std::string text(const std::string& key) const;                  // a string
    std::string text_of(const std::vector<std::string>& keys) const; // of the first of the keys that is there
    std::string id(const std::string& key) const;                    // a string or a whole number, as text
    int64_t whole(const std::string& key) const;
    bool flag(const std::string& key) const;
    std::vector<Record> list(const std::string& key) const;
    std::vector<std::string> texts(const std::string& key) const; // an array of strings
    // The value itself as an array, or as an object's members.
    std::vector<Record> items() const;
    void for_each_member(const std::function<void(const std::string& key, const Record& value)>& f) const;
    // The value itself as text, as an id, as a whole number.
    std::string as_text() const;
    std::string as_id() const;
    int64_t as_whole() const;

private:
    const nlohmann::json* value_;
    std::string place_;
};

using Texts = std::unordered_map<std::string, std::string>;
// The text of every record by its id; Error::data for an id that stands there twice.
Texts texts_by_id(const Record& records, const std::vector<std::string>& id_keys,
                  const std::vector<std::string>& text_keys);
// Error::data unless every wanted id has a prediction and no other has; some of the ids are named.
template <typename Map>
void expect_same_ids(const std::vector<std::string>& wanted, const std::string& references,
                     const Map& predictions, const std::string& predictions_file);
void report_ids(const std::vector<std::string>& ids, const std::string& where,
                const std::string& missing_from);

template <typename Map>
void expect_same_ids(const std::vector<std::string>& wanted, const std::string& references,
                     const Map& predictions, const std::string& predictions_file) {
    std::vector<std::string> missing, extra;
    std::unordered_map<std::string, bool> known;
    for (const std::string& id : wanted) {
        known[id] = true;
        if (!predictions.count(id)) missing.push_back(id);
    }
    for (const auto& [id, value] : predictions)
        if (!known.count(id)) extra.push_back(id);
    report_ids(missing, references, predictions_file);
    report_ids(extra, predictions_file, references);
}

} // namespace dorabench
