#pragma once
// Tables of text, and their renderings: terminal, Markdown, CSV, LaTeX (booktabs), JSON, HTML. What stands in
// a table is decided elsewhere (comparison.h, curve.h); here is only how it looks.
#include "harness/store/store.h"
#include <string>
#include <vector>

namespace dorabench {

enum class Align { automatic, left, right }; // automatic: the first column left, columns of numbers right

struct Table {
    std::string title; // may be empty
    std::vector<std::string> header;
    std::vector<std::vector<std::string>> rows; // short rows are filled with ""
    std::vector<Align> align;                   // shorter than the header: automatic
    std::vector<std::string> notes;             // lines under the table
    std::vector<std::string> warnings;          // why its rows do not compare fairly, after the notes
    std::vector<size_t> rules;                  // a line is drawn before these rows
    size_t key_columns = 1;                     // repeated when a terminal table is folded to the width
};

// width 0: not folded. color: bold header, dim rows that hold "(published)".
struct RenderOptions {
    size_t width = 0;
    bool color = false;
};
RenderOptions
terminal_options(); // of stdout: its width and colours on a terminal without NO_COLOR, else none

// format: text (also "table"), markdown, csv, latex, json, html (a fragment: <table> and its notes).
// Error::config for another.
std::string render(const Table& table, const std::string& format,
                   const RenderOptions& options = terminal_options());
std::vector<std::string> table_formats();
std::string html_text(std::string_view text); // & < > " and ' as entities
size_t display_width(std::string_view text);  // columns on a terminal: East Asian wide 2, combining marks 0

} // namespace dorabench
