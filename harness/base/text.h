#pragma once
// Small text helpers that every layer uses.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

std::string join(const std::vector<std::string>& parts, std::string_view between);
std::vector<std::string> split(std::string_view text, char at);
std::string trim(std::string_view text); // ASCII white space at both ends
std::string lower(std::string_view text); // ASCII
bool starts_with(std::string_view text, std::string_view prefix);
bool ends_with(std::string_view text, std::string_view suffix);
std::string replace_all(std::string text, std::string_view from, std::string_view to);

// Levenshtein distance with adjacent transposition counted once.
size_t edit_distance(std::string_view a, std::string_view b);
// The candidate nearest to word, or "" when none is within about a third of its length.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);
// `; did you mean "…"?` or "" when nothing is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

// fnmatch(3) with * ? [] over the whole text; '*' also crosses dots.
bool matches_pattern(std::string_view pattern, std::string_view text);

std::string with_commas(int64_t number);            // 6,738,415,616
std::string fixed(double value, int digits);        // never "-0.00"
std::string human_bytes(double bytes);              // "12.9 GiB"
std::string human_seconds(double seconds);          // "3 min 12 s"

// Checks UTF-8; returns the byte offset of the first bad byte, or npos.
size_t invalid_utf8(std::string_view text);

std::string sha256_hex(std::string_view bytes);
std::string sha256_file(const std::string& path);   // streams; Error::data when it cannot be read

} // namespace dorabench
