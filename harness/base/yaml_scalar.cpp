// The types of scalars (YAML 1.2, core schema) and their way back to text: the other half of yaml.h.
#include "harness/base/text.h"
#include "harness/base/yaml.h"
#include <algorithm>
#include <charconv>
#include <cmath>

namespace dorabench {

namespace {

bool digits_only(std::string_view text, std::string_view digits) {
    return !text.empty() && text.find_first_not_of(digits) == std::string_view::npos;
}

template <typename Integer>
std::optional<Integer> integer_of(std::string_view text) {
    int base = 10;
    bool negative = text.starts_with('-');
    if (text.starts_with('-') || text.starts_with('+'))
        text.remove_prefix(1);
    else if (text.starts_with("0x") || text.starts_with("0o")) {
        base = text[1] == 'x' ? 16 : 8;
        text.remove_prefix(2);
    }
    static constexpr std::string_view kDigits = "0123456789abcdef";
    if (!digits_only(lower(text), kDigits.substr(0, static_cast<size_t>(base)))) return std::nullopt;
    std::string number = (negative ? "-" : "") + std::string(text);
    Integer value = 0;
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value, base);
    if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
    return value;
}

// [-+]? ( \. digits | digits ( \. digits* )? ) ( [eE] [-+]? digits )?
bool looks_like_number(std::string_view text) {
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    size_t at = 0, digits = 0;
    auto eat = [&] {
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) ++digits;
    };
    eat();
    if (at < text.size() && text[at] == '.') {
        ++at;
        eat();
    }
    if (digits == 0) return false;
    if (at == text.size()) return true;
    if (text[at] != 'e' && text[at] != 'E') return false;
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    return digits_only(text.substr(at), "0123456789");
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
    return std::find(words.begin(), words.end(), text) != words.end();
}

bool special_number(std::string_view text) {
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    return is_one_of(text, {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"});
}

} // namespace

std::optional<bool> YamlNode::as_bool() const {
    if (!is_scalar() || quoted) return std::nullopt;
    if (is_one_of(text, {"true", "True", "TRUE"})) return true;
    if (is_one_of(text, {"false", "False", "FALSE"})) return false;
    return std::nullopt;
}

std::optional<int64_t> YamlNode::as_integer() const {
    return is_scalar() && !quoted ? integer_of<int64_t>(text) : std::nullopt;
}

std::optional<uint64_t> YamlNode::as_unsigned() const {
    return is_scalar() && !quoted ? integer_of<uint64_t>(text) : std::nullopt;
}

std::optional<double> YamlNode::as_number() const {
    if (!is_scalar() || quoted) return std::nullopt;
    if (auto integer = as_integer()) return static_cast<double>(*integer);
    if (!looks_like_number(text)) return std::nullopt;
    double value = 0;
    std::string_view number = text;
    if (number.starts_with('+')) number.remove_prefix(1);
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error != std::errc() || end != number.data() + number.size() || !std::isfinite(value))
        return std::nullopt;
    return value;
}

bool YamlNode::is_string() const {
    return is_scalar() && (quoted || (!as_bool() && !looks_like_number(text) && !integer_of<int64_t>(text) &&
                                      !special_number(text)));
}

std::string YamlNode::describe() const {
    constexpr size_t kShown = 60;
    switch (kind) {
    case Kind::null:
        return "nothing";
    case Kind::list:
        return "a list";
    case Kind::map:
        return "a map";
    case Kind::scalar:
        break;
    }
    if (!is_string()) return text.substr(0, kShown);
    size_t end = std::min(text.size(), kShown);
    while (end < text.size() && end > 0 && (text[end] & 0xC0) == 0x80) --end; // not inside a character
    return "the string \"" + text.substr(0, end) + (end < text.size() ? "…" : "") + "\"";
}

std::string yaml_string(std::string_view text) {
    static constexpr std::string_view kSafe =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
    static constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/";
    YamlNode plain;
    plain.kind = YamlNode::Kind::scalar;
    plain.text = std::string(text);
    if (!text.empty() && kFirst.find(text[0]) != std::string_view::npos &&
        text.find_first_not_of(kSafe) == std::string_view::npos && plain.is_string() &&
        !is_one_of(lower(text), {"null", "yes", "no", "on", "off", "y", "n"}))
        return plain.text;
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
            out += "\\x";
            out += "0123456789abcdef"[c >> 4];
            out += "0123456789abcdef"[c & 15];
        } else {
            out += c;
        }
    }
    return out + "\"";
}

std::string yaml_flow(const YamlNode& node) {
    std::vector<std::string> parts;
    switch (node.kind) {
    case YamlNode::Kind::null:
        return "null";
    case YamlNode::Kind::scalar:
        return node.is_string() ? yaml_string(node.text) : node.text;
    case YamlNode::Kind::list:
        for (const auto& item : node.items) parts.push_back(yaml_flow(item));
        return "[" + join(parts, ", ") + "]";
    case YamlNode::Kind::map:
        for (const auto& entry : node.entries)
            parts.push_back(yaml_string(entry.key) + ": " + yaml_flow(entry.value));
        return "{" + join(parts, ", ") + "}";
    }
    return "";
}

} // namespace dorabench
