#pragma once
// Tables of text, and their renderings: terminal, Markdown, CSV, LaTeX (booktabs), JSON. What stands in a
// table is decided elsewhere (comparison.h, curve.h); here is only how it looks.
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

// format: text (also "table"), markdown, csv, latex, json. Error::config for another.
std::string render(const Table& table, const std::string& format,
                   const RenderOptions& options = terminal_options());
std::vector<std::string> table_formats();
size_t display_width(std::string_view text); // columns on a terminal: East Asian wide 2, combining marks 0

// The comparison of runs (comparison.h) with rank curves (curve.h) where a method was run at two ranks or
// more, one block a backbone; json: one document.
std::string comparison_table(const std::vector<RunRecord>& records, const std::string& format);

} // namespace dorabench
