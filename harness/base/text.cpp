#include "harness/base/text.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace dorabench {

namespace {

constexpr std::string_view kBlank = " \t\n\r\f\v";

char lower_char(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// One [...] at pattern[at] == '['. Sets `end` behind the closing bracket; npos when there is none (then '['
// is literal).
bool bracket_matches(std::string_view pattern, size_t at, unsigned char c, size_t& end) {
    size_t i = at + 1;
    bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
    if (negated) ++i;
    bool matched = false;
    for (bool first = true; i < pattern.size() && (first || pattern[i] != ']'); first = false) {
        auto low = static_cast<unsigned char>(pattern[i]), high = low;
        if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
            high = static_cast<unsigned char>(pattern[i + 2]);
            i += 2;
        }
        ++i;
        if (low <= c && c <= high) matched = true;
    }
    end = i < pattern.size() ? i + 1 : std::string_view::npos;
    return matched != negated;
}

// Does pattern[p] accept the character c? Sets `next` behind the pattern element.
bool element_matches(std::string_view pattern, size_t p, char c, size_t& next) {
    next = p + 1;
    if (pattern[p] == '?') return true;
    if (pattern[p] == '[') {
        size_t end = 0;
        bool inside = bracket_matches(pattern, p, static_cast<unsigned char>(c), end);
        if (end != std::string_view::npos) {
            next = end;
            return inside;
        }
    }
    if (pattern[p] == '\\' && p + 1 < pattern.size()) {
        next = p + 2;
        return pattern[p + 1] == c;
    }
    return pattern[p] == c;
}

} // namespace

std::string join(const std::vector<std::string>& parts, std::string_view between) {
    std::string out;
    for (size_t i = 0; i < parts.size(); ++i) {
        if (i) out += between;
        out += parts[i];
    }
    return out;
}

std::vector<std::string> split(std::string_view text, char at) {
    std::vector<std::string> out;
    for (size_t from = 0;;) {
        size_t to = text.find(at, from);
        out.emplace_back(text.substr(from, to == std::string_view::npos ? to : to - from));
        if (to == std::string_view::npos) return out;
        from = to + 1;
    }
}

std::string trim(std::string_view text) {
    size_t from = text.find_first_not_of(kBlank);
    if (from == std::string_view::npos) return "";
    return std::string(text.substr(from, text.find_last_not_of(kBlank) - from + 1));
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), lower_char);
    return out;
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.starts_with(prefix); }
bool ends_with(std::string_view text, std::string_view suffix) { return text.ends_with(suffix); }

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
    if (from.empty()) return text;
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
    return text;
}

size_t edit_distance(std::string_view a, std::string_view b) {
    // three rows: the one before the last is needed for the transposition
    std::vector<size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        now[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = std::min(now[j], before[j - 2] + 1);
        }
        std::swap(before, last);
        std::swap(last, now);
    }
    return last[b.size()];
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
    constexpr size_t kLongestWord = 200; // nobody mistypes a longer one, and the distance is quadratic
    if (word.empty() || word.size() > kLongestWord) return "";
    size_t best = (word.size() + 2) / 3 + 1;
    std::string found, small = lower(word);
    for (const auto& candidate : candidates) {
        if (candidate.size() > kLongestWord) continue;
        size_t distance = edit_distance(small, lower(candidate));
        if (distance < best && distance < std::max(word.size(), candidate.size())) {
            best = distance;
            found = candidate;
        }
    }
    return found;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
    std::string near = nearest(word, candidates);
    return near.empty() ? "" : "; did you mean \"" + near + "\"?";
}

bool matches_pattern(std::string_view pattern, std::string_view text) {
    // greedy with one way back (to the last '*'): linear in practice, never exponential
    size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
    while (t < text.size()) {
        size_t next = 0;
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && element_matches(pattern, p, text[t], next)) {
            p = next;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

std::string with_commas(int64_t number) {
    std::string digits = std::to_string(number);
    size_t first = digits[0] == '-' ? 1 : 0;
    for (size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, ",");
    return digits;
}

std::string fixed(double value, int digits) {
    std::array<char, 512> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.*f", std::clamp(digits, 0, 100), value);
    std::string out = buffer.data();
    if (out[0] == '-' && out.find_first_of("123456789in") == std::string::npos) out.erase(0, 1);
    return out;
}

std::string human_bytes(double bytes) {
    static const std::array<const char*, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t unit = 0;
    for (; std::abs(bytes) >= 1024 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024;
    return fixed(bytes, unit ? 1 : 0) + " " + kUnits[unit];
}

std::string human_seconds(double seconds) {
    if (!std::isfinite(seconds)) return "unknown";
    if (seconds < 0.001) return fixed(seconds * 1e6, 0) + " µs";
    if (seconds < 1) return fixed(seconds * 1e3, seconds < 0.1 ? 1 : 0) + " ms";
    if (seconds < 60) return fixed(seconds, 1) + " s";
    if (seconds > 1e12) return "unknown";
    auto whole = static_cast<int64_t>(std::llround(seconds));
    if (whole < 3600) return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
    if (whole < 86400) return std::to_string(whole / 3600) + " h " + std::to_string(whole / 60 % 60) + " min";
    return std::to_string(whole / 86400) + " d " + std::to_string(whole / 3600 % 24) + " h";
}

size_t invalid_utf8(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
        auto lead = static_cast<unsigned char>(text[i]);
        size_t more = lead < 0x80 ? 0 : lead >= 0xC2 && lead < 0xE0 ? 1 : lead >= 0xE0 && lead < 0xF0 ? 2 : 3;
        if (lead >= 0x80 && (lead < 0xC2 || lead > 0xF4)) return i;
        if (more >= text.size() - i) return i;
        for (size_t k = 1; k <= more; ++k)
            if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return i;
        if (more >= 2) {
            auto second = static_cast<unsigned char>(text[i + 1]);
            // overlong forms, surrogates and what lies beyond U+10FFFF
            if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
                (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F))
                return i;
        }
        i += more + 1;
    }
    return std::string_view::npos;
}

} // namespace dorabench
