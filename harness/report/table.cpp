#include "harness/report/table.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <unistd.h>

namespace dorabench {
namespace {

using Row = std::vector<std::string>;

// Invalid bytes count as one column each.
uint32_t next_code_point(std::string_view text, size_t& at) {
    unsigned char lead = static_cast<unsigned char>(text[at++]);
    int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    uint32_t code = more == 3 ? lead & 7u : more == 2 ? lead & 15u : more == 1 ? lead & 31u : lead;
    for (; more > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80; --more)
        code = code << 6 | (static_cast<unsigned char>(text[at++]) & 63u);
    return code;
}

bool is_wide(uint32_t c) {
    return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
           (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
}

bool is_combining(uint32_t c) {
    return (c >= 0x300 && c <= 0x36f) || (c >= 0x1ab0 && c <= 0x1aff) || (c >= 0x20d0 && c <= 0x20ff) ||
           (c >= 0xfe00 && c <= 0xfe0f) || c == 0x200b || c == 0x200d;
}

bool looks_numeric(const std::string& cell) {
    if (cell.empty() || cell == "-" || cell == "–") return true;
    return std::string_view("0123456789.+-<!").find(cell[0]) != std::string_view::npos;
}

const std::string& cell_at(const Row& row, size_t column) {
    static const std::string none;
    return column < row.size() ? row[column] : none;
}

std::vector<bool> right_aligned(const Table& table) {
    std::vector<bool> out(table.header.size());
    for (size_t column = 0; column < out.size(); ++column) {
        Align align = column < table.align.size() ? table.align[column] : Align::automatic;
        bool numeric = column > 0 && !table.rows.empty();
        for (const Row& row : table.rows) numeric = numeric && looks_numeric(cell_at(row, column));
        out[column] = align == Align::right || (align == Align::automatic && numeric);
    }
    return out;
}

// One line: a table cell must not break the table.
std::string one_line(std::string text) {
    for (char& c : text)
        if (c == '\n' || c == '\r' || c == '\t') c = ' ';
    return text;
}

std::string padded(const std::string& cell, size_t width, bool right) {
    std::string space(width - std::min(width, display_width(cell)), ' ');
    return right ? space + cell : cell + space;
}

struct Layout {
    std::vector<size_t> widths;
    std::vector<bool> right;
};

std::string text_line(const Row& row, const std::vector<size_t>& columns, const Layout& layout) {
    std::string line;
    for (size_t column : columns) {
        if (!line.empty() || column != columns.front()) line += "  ";
        line += padded(one_line(cell_at(row, column)), layout.widths[column], layout.right[column]);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return line + "\n";
}

// Column sets that fit the width; each begins with the key columns.
std::vector<std::vector<size_t>> folds(const Table& table, const Layout& layout, size_t width) {
    size_t keys = std::min(table.key_columns, table.header.size()), key_width = 0;
    std::vector<size_t> head;
    for (size_t column = 0; column < keys; ++column) {
        head.push_back(column);
        key_width += layout.widths[column] + 2;
    }
    std::vector<std::vector<size_t>> out{head};
    size_t used = key_width;
    for (size_t column = keys; column < table.header.size(); ++column) {
        size_t more = layout.widths[column] + 2;
        if (width > 0 && used + more > width + 2 && out.back().size() > keys) {
            out.push_back(head);
            used = key_width;
        }
        out.back().push_back(column);
        used += more;
    }
    return out;
}

// Notes, then warnings, each of which says what it is.
std::vector<std::string> lines_below(const Table& table) {
    std::vector<std::string> out = table.notes;
    for (const std::string& warning : table.warnings) out.push_back("not a fair comparison: " + warning);
    return out;
}

std::string render_text(const Table& table, const RenderOptions& options) {
    Layout layout{std::vector<size_t>(table.header.size()), right_aligned(table)};
    for (size_t column = 0; column < table.header.size(); ++column) {
        layout.widths[column] = display_width(table.header[column]);
        for (const Row& row : table.rows)
            layout.widths[column] =
                std::max(layout.widths[column], display_width(one_line(cell_at(row, column))));
    }
    const char *bold = options.color ? "\033[1m" : "", *dim = options.color ? "\033[2m" : "",
               *plain = options.color ? "\033[0m" : "";
    std::string out;
    if (!table.title.empty()) out += cat(bold, table.title, plain, "\n");
    bool first = true;
    for (const std::vector<size_t>& columns : folds(table, layout, options.width)) {
        if (!first) out += "\n";
        first = false;
        size_t total = 0;
        for (size_t column : columns) total += layout.widths[column] + 2;
        std::string rule;
        for (size_t i = 0; i + 2 < total; ++i) rule += "─";
        rule += "\n";
        out += cat(bold, text_line(table.header, columns, layout), plain, rule);
        for (size_t i = 0; i < table.rows.size(); ++i) {
            if (std::count(table.rules.begin(), table.rules.end(), i)) out += rule;
            bool faint = options.color && !table.rows[i].empty() &&
                         table.rows[i][0].find("(published)") != std::string::npos;
            out += cat(faint ? dim : "", text_line(table.rows[i], columns, layout), faint ? plain : "");
        }
    }
    for (const std::string& line : lines_below(table)) out += line + "\n";
    return out;
}

std::string render_markdown(const Table& table) {
    auto line = [&](const Row& row) {
        std::string out = "|";
        for (size_t column = 0; column < table.header.size(); ++column)
            out += " " + replace_all(one_line(cell_at(row, column)), "|", "\\|") + " |";
        return out + "\n";
    };
    std::string out = table.title.empty() ? "" : "### " + table.title + "\n\n";
    out += line(table.header) + "|";
    for (bool right : right_aligned(table)) out += right ? " ---: |" : " --- |";
    out += "\n";
    for (const Row& row : table.rows) out += line(row);
    for (const std::string& line : lines_below(table)) out += "\n" + line + "\n";
    return out;
}

std::string csv_cell(const std::string& cell) {
    if (cell.find_first_of(",\"\n\r") == std::string::npos) return cell;
    return "\"" + replace_all(cell, "\"", "\"\"") + "\"";
}

std::string render_csv(const Table& table) {
    auto line = [&](const Row& row) {
        std::string out;
        for (size_t column = 0; column < table.header.size(); ++column)
            out += (column ? "," : "") + csv_cell(cell_at(row, column));
        return out + "\r\n"; // RFC 4180
    };
    std::string out = line(table.header);
    for (const Row& row : table.rows) out += line(row);
    return out;
}

std::string latex_cell(const std::string& cell) {
    std::string out;
    for (char c : one_line(cell)) {
        if (c == '\\')
            out += "\\textbackslash{}";
        else if (c == '~' || c == '^')
            out += cat('\\', c, "{}");
        else if (std::string_view("&%$#_{}").find(c) != std::string_view::npos)
            out += cat('\\', c);
        else
            out += c;
    }
    for (const auto& [from, to] :
         {std::pair{"±", "$\\pm$"}, {"–", "--"}, {"×", "$\\times$"}, {"≥", "$\\geq$"}, {"Δ", "$\\Delta$"}})
        out = replace_all(out, from, to);
    return out;
}

std::string render_latex(const Table& table) {
    std::string spec;
    for (bool right : right_aligned(table)) spec += right ? 'r' : 'l';
    auto line = [&](const Row& row) {
        std::string out;
        for (size_t column = 0; column < table.header.size(); ++column)
            out += (column ? " & " : "") + latex_cell(cell_at(row, column));
        return out + " \\\\\n";
    };
    std::string out = "% \\usepackage{booktabs}\n\\begin{table}\n\\centering\n";
    if (!table.title.empty()) out += "\\caption{" + latex_cell(table.title) + "}\n";
    out += "\\begin{tabular}{" + spec + "}\n\\toprule\n" + line(table.header) + "\\midrule\n";
    for (size_t i = 0; i < table.rows.size(); ++i) {
        if (i > 0 && std::count(table.rules.begin(), table.rules.end(), i)) out += "\\midrule\n";
        out += line(table.rows[i]);
    }
    out += "\\bottomrule\n\\end{tabular}\n";
    for (const std::string& line : lines_below(table))
        out += "\\par\\footnotesize " + latex_cell(line) + "\n";
    return out + "\\end{table}\n";
}

std::string render_html(const Table& table) {
    std::vector<bool> right = right_aligned(table);
    auto cell = [&](const char* tag, const std::string& text, size_t column, const std::string& more) {
        return cat("<", tag, right[column] ? " class=n" : "", more, ">", html_text(one_line(text)), "</", tag,
                   ">");
    };
    std::string out = "<div class=scroll tabindex=0><table>";
    if (!table.title.empty()) out += "<caption>" + html_text(table.title) + "</caption>";
    out += "<thead><tr>";
    for (size_t column = 0; column < table.header.size(); ++column)
        out += cell("th", table.header[column], column, " scope=col");
    out += "</tr></thead>\n<tbody>";
    for (size_t i = 0; i < table.rows.size(); ++i) {
        std::string classes = std::count(table.rules.begin(), table.rules.end(), i) ? "rule" : "";
        if (cell_at(table.rows[i], 0).find("(published)") != std::string::npos) classes += " published";
        out += classes.empty() ? "<tr>" : cat("<tr class=\"", classes, "\">");
        for (size_t column = 0; column < table.header.size(); ++column)
            out += column == 0 ? cell("th", cell_at(table.rows[i], column), column, " scope=row")
                               : cell("td", cell_at(table.rows[i], column), column, "");
        out += "</tr>\n";
    }
    out += "</tbody></table></div>\n";
    for (const std::string& note : table.notes) out += "<p class=note>" + html_text(note) + "</p>\n";
    if (!table.warnings.empty()) {
        out += "<div class=warning><p>Not a fair comparison:</p><ul>";
        for (const std::string& warning : table.warnings) out += "<li>" + html_text(warning) + "</li>";
        out += "</ul></div>\n";
    }
    return out;
}

std::string render_json(const Table& table) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Row& row : table.rows) {
        nlohmann::json object = nlohmann::json::object();
        for (size_t column = 0; column < table.header.size(); ++column)
            object[table.header[column]] = cell_at(row, column);
        rows.push_back(object);
    }
    nlohmann::json out = {{"title", table.title},
                          {"columns", table.header},
                          {"rows", rows},
                          {"notes", table.notes},
                          {"warnings", table.warnings}};
    return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

} // namespace

std::string html_text(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else if (c == '"')
            out += "&quot;";
        else if (c == '\'')
            out += "&#39;";
        else
            out += c;
    }
    return out;
}

size_t display_width(std::string_view text) {
    size_t width = 0;
    for (size_t at = 0; at < text.size();) {
        uint32_t code = next_code_point(text, at);
        width += is_combining(code) ? 0 : is_wide(code) ? 2 : 1;
    }
    return width;
}

RenderOptions terminal_options() {
    RenderOptions options;
    if (!isatty(STDOUT_FILENO)) return options;
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) options.width = size.ws_col;
    std::optional<std::string> no_color = environment("NO_COLOR"), terminal = environment("TERM");
    options.color = (!no_color || no_color->empty()) && terminal && *terminal != "dumb";
    return options;
}

std::vector<std::string> table_formats() {
    return {"text", "table", "markdown", "csv", "latex", "json", "html"};
}

std::string render(const Table& table, const std::string& format, const RenderOptions& options) {
    if (format == "text" || format == "table") return render_text(table, options);
    if (format == "markdown") return render_markdown(table);
    if (format == "csv") return render_csv(table);
    if (format == "latex") return render_latex(table);
    if (format == "json") return render_json(table);
    if (format == "html") return render_html(table);
    throw Error::config("--format: expected one of ", join(table_formats(), ", "), ", got \"", format, "\"",
                        did_you_mean(format, table_formats()));
}

} // namespace dorabench
