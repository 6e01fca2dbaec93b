#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/compare/gate.h"
#include "harness/report/table.h"
#include <algorithm>

namespace dorabench {
namespace {

using nlohmann::json;

std::string percent(double fraction) { return fixed(100 * fraction, 2); }
std::string p_text(double p) { return p < 0.001 ? "<0.001" : fixed(p, 3); }

Table as_table(const GateReport& report) {
    Table table;
    table.header = {"cell",     "task",       "verdict",  "baseline", "now",
                    "p (Holm)", "resolvable", "unparsed", "message"};
    table.align = {Align::left,  Align::left,  Align::left,  Align::right, Align::right,
                   Align::right, Align::right, Align::right, Align::left};
    for (const GateCell& cell : report.cells) {
        bool judged = cell.judged();
        table.rows.push_back({cell.label, cell.task, cell.verdict, judged ? percent(cell.baseline) : "-",
                              judged || cell.verdict == "new" ? percent(cell.value) : "-",
                              judged ? p_text(cell.p) : "-", judged ? percent(cell.resolvable) : "-",
                              judged ? cat(cell.unparsed_before, " -> ", cell.unparsed_now) : "-",
                              cell.verdict == "pass" ? "" : cell.message});
    }
    table.notes = {
        cat("p: one-sided, for a drop, Holm over all cells; regressed below ", fixed(report.alpha, 2), "."),
        "resolvable: the drop that a cell's items show at 80 % power, at the corrected level."};
    for (const GateCell& cell : report.cells)
        if (cell.noise_floor > 0)
            table.notes.push_back(cat(cell.label, " ", cell.task, ": measured noise floor ",
                                      percent(cell.noise_floor), ", smaller drops pass"));
    table.notes.insert(table.notes.end(), report.notes.begin(), report.notes.end());
    return table;
}

std::string xml(const std::string& text) {
    std::string out;
    size_t bad = invalid_utf8(text);
    for (char c : bad == std::string::npos ? text : text.substr(0, bad)) {
        if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else if (c == '"')
            out += "&quot;";
        else if (static_cast<unsigned char>(c) >= 32 || c == '\n' ||
                 c == '\t') // XML 1.0 has no other controls
            out += c;
    }
    return out;
}

// GitHub's workflow commands end at a line end.
std::string escaped(const std::string& text) {
    return replace_all(replace_all(replace_all(text, "%", "%25"), "\r", "%0D"), "\n", "%0A");
}

size_t count(const GateReport& report, const std::string& verdict) {
    return static_cast<size_t>(std::count_if(report.cells.begin(), report.cells.end(),
                                             [&](const GateCell& cell) { return cell.verdict == verdict; }));
}

std::string counts_text(const GateReport& report) {
    std::vector<std::string> parts;
    for (const char* verdict : {"pass", "regressed", "missing", "incomparable", "new"})
        if (size_t n = count(report, verdict)) parts.push_back(cat(n, " ", verdict));
    return parts.empty() ? "no cell" : join(parts, ", ");
}

} // namespace

std::string gate_as_text(const GateReport& report, const std::string& format) {
    std::string out = render(as_table(report), format);
    if (format == "text" || format == "table")
        out += cat("\nverdict: ", report.verdict(), " (", counts_text(report), ")\n");
    return out;
}

std::string gate_as_markdown(const GateReport& report) {
    return cat("## dora-bench check: ", report.verdict(), "\n\n", counts_text(report), "\n\n",
               render(as_table(report), "markdown"));
}

std::string gate_as_junit(const GateReport& report) {
    size_t failures = count(report, "regressed") + count(report, "missing"),
           errors = count(report, "incomparable"), skipped = count(report, "new");
    std::string numbers = cat("tests=\"", report.cells.size(), "\" failures=\"", failures, "\" errors=\"",
                              errors, "\" skipped=\"", skipped, "\"");
    std::string out = cat("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites ", numbers,
                          ">\n<testsuite name=\"dora-bench check\" ", numbers, ">\n");
    for (const GateCell& cell : report.cells) {
        out += cat("  <testcase classname=\"", xml(cell.label), "\" name=\"", xml(cell.task), "\"");
        if (cell.verdict == "pass") {
            out += "/>\n";
            continue;
        }
        std::string element = cell.verdict == "incomparable" ? "error"
                              : cell.verdict == "new"        ? "skipped"
                                                             : "failure";
        std::string type = element == "skipped" ? "" : cat(" type=\"", cell.verdict, "\"");
        out += cat(">\n    <", element, type, " message=\"", xml(cell.message), "\"/>\n  </testcase>\n");
    }
    return out + "</testsuite>\n</testsuites>\n";
}

std::string gate_as_github(const GateReport& report) {
    std::string out;
    for (const GateCell& cell : report.cells) {
        if (cell.verdict == "pass") continue;
        out += cat(cell.verdict == "new" ? "::notice" : "::error", " title=dora-bench check ", cell.verdict,
                   "::", escaped(cat(cell.label, " ", cell.task, ": ", cell.message)), "\n");
    }
    return out + cat(report.exit_code() == 0 ? "::notice" : "::error", " title=dora-bench check::",
                     escaped(cat(report.verdict(), " (", counts_text(report), ")")), "\n");
}

json gate_as_json(const GateReport& report) {
    json cells = json::array();
    for (const GateCell& cell : report.cells) {
        bool judged = cell.judged();
        auto only = [&](const json& value) { return judged ? value : json(); };
        cells.push_back(
            {{"label", cell.label},
             {"task", cell.task},
             {"runs", cell.runs},
             {"verdict", cell.verdict},
             {"differing", cell.differing},
             {"baseline", only(cell.baseline)},
             {"value", judged || cell.verdict == "new" ? json(cell.value) : json()},
             {"p", only(cell.p)},
             {"p_unparsed", only(cell.unparsed_p)},
             {"unparsed", only({{"baseline", cell.unparsed_before}, {"value", cell.unparsed_now}})},
             {"trainable", only({{"baseline", cell.trainable_before}, {"value", cell.trainable_now}})},
             {"noise_floor", cell.noise_floor > 0 ? json(cell.noise_floor) : json()},
             {"resolvable_difference", only(cell.resolvable)},
             {"message", cell.message}});
    }
    return {{"schema_version", kSchemaVersion},
            {"verdict", report.verdict()},
            {"alpha", report.alpha},
            {"notes", report.notes},
            {"cells", cells}};
}

} // namespace dorabench
