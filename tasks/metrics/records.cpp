#include "tasks/metrics/records.h"

#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>

namespace dorabench {

namespace {

constexpr int kDeepest = 200; // no file of the field nests deeper than about ten

// Refuses hostile nesting before a tree is built from it.
void check_depth(const std::string& text, const std::string& path) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > kDeepest)
                throw Error::data(path, ": JSON nested at most ", kDeepest,
                                  " deep expected, got more at byte ", i);
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
}

nlohmann::json parse(std::string_view text, const std::string& place) {
    try {
        return nlohmann::json::parse(text);
    } catch (const nlohmann::json::exception& error) {
        throw Error::data(place, ": JSON expected: ", error.what());
    }
}

// Whether the first line is a JSON value of its own with more behind it.
bool is_lines(const std::string& text) {
    size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos || text[begin] != '{') return false;
    size_t end = text.find('\n', begin);
    if (end == std::string::npos || text.find_first_not_of(" \t\r\n", end) == std::string::npos) return false;
    return nlohmann::json::accept(std::string_view(text).substr(begin, end - begin));
}

std::string shown(const nlohmann::json& value) {
    if (value.is_object() || value.is_array()) return value.type_name();
    std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

} // namespace

nlohmann::json read_json(const std::string& path) {
    std::string text = read_file(path);
    if (starts_with(text, "\xEF\xBB\xBF")) text.erase(0, 3);
    check_depth(text, path);
    if (!is_lines(text)) return parse(text, path);
    nlohmann::json out = nlohmann::json::array();
    size_t number = 0;
    for (size_t from = 0; from < text.size();) {
        size_t to = std::min(text.find('\n', from), text.size());
        std::string_view line = std::string_view(text).substr(from, to - from);
        ++number;
        if (line.find_first_not_of(" \t\r") != std::string_view::npos)
            out.push_back(parse(line, cat(path, ", line ", number)));
        from = to + 1;
    }
    return out;
}

bool Record::has(const std::string& key) const {
    if (!value_->is_object()) return false;
    auto found = value_->find(key);
    return found != value_->end() && !found->is_null();
}

Record Record::at(const std::string& key) const {
    if (!value_->is_object()) throw Error::data(place_, ": an object expected, got ", shown(*value_));
    auto found = value_->find(key);
    if (found == value_->end()) throw Error::data(place_, ": \"", key, "\" expected, it is not there");
    return {*found, place_ + ", " + key};
}

std::string Record::as_text() const {
    if (!value_->is_string()) throw Error::data(place_, ": a string expected, got ", shown(*value_));
    return value_->get_ref<const std::string&>();
}
std::string Record::as_id() const {
    if (value_->is_string()) return value_->get_ref<const std::string&>();
    if (value_->is_number_integer()) return value_->dump();
    throw Error::data(place_, ": an id (a string or a whole number) expected, got ", shown(*value_));
}
int64_t Record::as_whole() const {
    if (value_->is_number_unsigned() && value_->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX))
        return static_cast<int64_t>(value_->get<uint64_t>());
    if (value_->is_number_integer() && !value_->is_number_unsigned()) return value_->get<int64_t>();
    throw Error::data(place_, ": a whole number expected, got ", shown(*value_));
}

std::string Record::text(const std::string& key) const { return at(key).as_text(); }
std::string Record::id(const std::string& key) const { return at(key).as_id(); }
int64_t Record::whole(const std::string& key) const { return at(key).as_whole(); }
bool Record::flag(const std::string& key) const {
    Record member = at(key);
    if (!member.value_->is_boolean())
        throw Error::data(member.place_, ": true or false expected, got ", shown(*member.value_));
    return member.value_->get<bool>();
}
std::string Record::text_of(const std::vector<std::string>& keys) const {
    for (const std::string& key : keys)
        if (has(key)) return text(key);
    throw Error::data(place_, ": \"", join(keys, "\" or \""), "\" expected, none of them is there");
}

std::vector<Record> Record::items() const {
    if (!value_->is_array()) throw Error::data(place_, ": an array expected, got ", shown(*value_));
    std::vector<Record> out;
    out.reserve(value_->size());
    for (size_t i = 0; i < value_->size(); ++i)
        out.push_back({(*value_)[i], cat(place_, ", record ", i + 1)});
    return out;
}
std::vector<Record> Record::list(const std::string& key) const { return at(key).items(); }
std::vector<std::string> Record::texts(const std::string& key) const {
    std::vector<std::string> out;
    for (const Record& item : list(key)) out.push_back(item.as_text());
    return out;
}
void Record::for_each_member(const std::function<void(const std::string&, const Record&)>& f) const {
    if (!value_->is_object()) throw Error::data(place_, ": an object expected, got ", shown(*value_));
    for (auto member = value_->begin(); member != value_->end(); ++member)
        f(member.key(), {member.value(), place_ + ", " + member.key()});
}

Texts texts_by_id(const Record& records, const std::vector<std::string>& id_keys,
                  const std::vector<std::string>& text_keys) {
    Texts out;
    for (const Record& record : records.items()) {
        auto key =
            std::find_if(id_keys.begin(), id_keys.end(), [&](const std::string& k) { return record.has(k); });
        if (key == id_keys.end())
            throw Error::data(record.place(), ": \"", join(id_keys, "\" or \""),
                              "\" expected, none of them is there");
        std::string id = record.id(*key);
        if (!out.emplace(id, record.text_of(text_keys)).second)
            throw Error::data(record.place(), ": one record an id expected, ", id,
                              " stands here a second time");
    }
    return out;
}

void report_ids(const std::vector<std::string>& ids, const std::string& where,
                const std::string& missing_from) {
    if (ids.empty()) return;
    std::vector<std::string> named(ids);
    std::sort(named.begin(), named.end());
    if (named.size() > 5) named.resize(5);
    throw Error::data(missing_from, ": ", ids.size(), ids.size() == 1 ? " id of " : " ids of ", where,
                      ids.size() == 1 ? " is missing: " : " are missing: ", join(named, ", "),
                      ids.size() > named.size() ? ", ..." : "");
}

} // namespace dorabench
