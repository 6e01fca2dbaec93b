#include "harness/base/text.h"
#include "harness/config/config.h"
#include <algorithm>
#include <set>
#include <tuple>

namespace dorabench {

namespace {

// The line and a caret under the column (code points; tabs are kept, so that the caret stands right in a
// terminal).
std::string excerpt(const Diagnostic& diagnostic) {
    constexpr size_t kWidest = 160;
    const std::string& line = diagnostic.source;
    if (trim(line).empty()) return "";
    if (diagnostic.mark.line == 0 || line.size() > kWidest) return "\n    " + line.substr(0, kWidest);
    std::string caret;
    int column = 1;
    for (size_t i = 0; i < line.size() && column < diagnostic.mark.column; ++i) {
        if ((line[i] & 0xC0) == 0x80) continue;
        caret += line[i] == '\t' ? '\t' : ' ';
        ++column;
    }
    return "\n    " + line + "\n    " + caret + "^";
}

std::string render(const Diagnostic& diagnostic) {
    std::string out = diagnostic.mark.file;
    if (diagnostic.mark.line > 0) out += cat(":", diagnostic.mark.line, ":", diagnostic.mark.column);
    out += ": ";
    if (!diagnostic.key.empty()) out += diagnostic.key + ": ";
    out += diagnostic.message + excerpt(diagnostic);
    if (!diagnostic.suggestion.empty()) out += "\n" + diagnostic.suggestion;
    if (!diagnostic.included_from.empty()) out += "\nincluded from " + diagnostic.included_from;
    return out;
}

std::string render_all(const std::vector<Diagnostic>& diagnostics) {
    std::string out;
    for (const auto& diagnostic : diagnostics) out += (out.empty() ? "" : "\n") + render(diagnostic);
    return out;
}

// By file (in the order of their first errors), line and column; each once: every run of a sweep repeats
// them.
std::vector<Diagnostic> in_order(std::vector<Diagnostic> diagnostics) {
    std::map<std::string, size_t> rank;
    for (const auto& diagnostic : diagnostics) rank.emplace(diagnostic.mark.file, rank.size());
    std::stable_sort(diagnostics.begin(), diagnostics.end(), [&](const Diagnostic& a, const Diagnostic& b) {
        return std::tuple(rank[a.mark.file], a.mark.line, a.mark.column) <
               std::tuple(rank[b.mark.file], b.mark.line, b.mark.column);
    });
    std::set<std::tuple<std::string, int, int, std::string, std::string>> seen;
    std::vector<Diagnostic> out;
    for (auto& d : diagnostics)
        if (seen.emplace(d.mark.file, d.mark.line, d.mark.column, d.key, d.message).second)
            out.push_back(std::move(d));
    return out;
}

} // namespace

// Error's constructor needs the text before diagnostics_ exists, hence the ordering twice.
ConfigErrors::ConfigErrors(std::vector<Diagnostic> diagnostics)
    : Error(ErrorKind::config, render_all(in_order(diagnostics))),
      diagnostics_(in_order(std::move(diagnostics))) {}

} // namespace dorabench
