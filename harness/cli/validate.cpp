// validate: everything that can be said about experiment files before weights or data are read: keys, types,
// bounds, names, every value on every axis, and the target modules against the backbone's shapes.
#include "harness/base/text.h"
#include "harness/cli/names.h"
#include "harness/plan/plan.h"
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

json diagnostic_json(const Diagnostic& diagnostic) {
    bool placed = diagnostic.mark.line > 0;
    return {{"file", diagnostic.mark.file},
            {"line", placed ? json(diagnostic.mark.line) : json()},
            {"column", placed ? json(diagnostic.mark.column) : json()},
            {"key", diagnostic.key},
            {"message", diagnostic.message},
            {"suggestion", diagnostic.suggestion.empty() ? json() : json(diagnostic.suggestion)}};
}

struct Verdict {
    int code = 0;
    size_t runs = 0;
    json errors = json::array();
    std::string text; // as for a person
};

Verdict verdict_on(const std::string& path, const std::vector<std::string>& overrides,
                   const Globals& globals) {
    Verdict out;
    try {
        ConfigFile config = load_experiment({path, overrides}, globals);
        const Registries& registries = *globals.registries;
        out.runs = make_plan(config, registries.backends, known_names(registries)).runs.size();
    } catch (const ConfigErrors& errors) {
        out.code = exit_code(errors.kind());
        out.text = errors.what();
        for (const auto& diagnostic : errors.diagnostics()) out.errors.push_back(diagnostic_json(diagnostic));
    } catch (const Error& error) { // a checkpoint that is damaged, say
        out.code = exit_code(error.kind());
        out.text = starts_with(error.what(), path) ? error.what() : cat(path, ": ", error.what());
        out.errors.push_back({{"file", path},
                              {"line", nullptr},
                              {"column", nullptr},
                              {"key", ""},
                              {"message", error.what()},
                              {"suggestion", nullptr}});
    }
    return out;
}

} // namespace

int validate_command(const std::vector<std::string>& configs, const std::vector<std::string>& overrides,
                     const Globals& globals) {
    json all = json::array();
    int code = 0;
    for (const auto& path : configs) {
        Verdict verdict = verdict_on(path, overrides, globals);
        if (code == 0) code = verdict.code;
        bool ok = verdict.code == 0;
        if (globals.format == "json")
            all.push_back({{"config", path},
                           {"ok", ok},
                           {"runs", ok ? json(verdict.runs) : json()},
                           {"errors", verdict.errors}});
        else if (ok && !globals.quiet)
            std::cout << path << ": ok, " << verdict.runs << (verdict.runs == 1 ? " run\n" : " runs\n");
        if (!ok) std::cerr << verdict.text << "\n";
    }
    if (globals.format == "json")
        std::cout << all.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
    return code;
}

} // namespace dorabench
