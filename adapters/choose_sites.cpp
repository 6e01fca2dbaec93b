#define PCRE2_CODE_UNIT_WIDTH 8
#include "adapters/choose_sites.h"
#include "adapters/adapter_set.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <memory>
#include <pcre2.h>
#include <set>

namespace dorabench {
namespace {

// A regular expression over whole module paths (Python's re.fullmatch; PCRE's dialect is a superset of what
// is used).
class PathExpression {
public:
    PathExpression(const std::string& expression, const std::string& place)
        : text_(expression), place_(place) {
        int error = 0;
        PCRE2_SIZE offset = 0;
        code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                                  PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY, &error, &offset,
                                  nullptr));
        if (code_) return;
        PCRE2_UCHAR message[128];
        pcre2_get_error_message(error, message, sizeof message);
        throw Error::config(place, ": \"", expression,
                            "\" is not a regular expression: ", reinterpret_cast<const char*>(message),
                            " at character ", offset);
    }
    bool matches(const std::string& path) const {
        const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
            pcre2_match_data_create_from_pattern(code_.get(), nullptr), pcre2_match_data_free);
        const int result = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(path.data()), path.size(), 0,
                                       0, data.get(), nullptr);
        if (result < 0 && result != PCRE2_ERROR_NOMATCH)
            throw Error::config(place_, ": matching \"", text_, "\" against ", path,
                                " exceeds its limits; simplify the expression");
        return result >= 0;
    }

private:
    struct Free {
        void operator()(pcre2_code* code) const { pcre2_code_free(code); }
    };
    std::string text_, place_;
    std::unique_ptr<pcre2_code, Free> code_;
};

std::string last_part(const std::string& path) { return path.substr(path.rfind('.') + 1); }

std::string without_weight(const std::string& name) {
    return ends_with(name, ".weight") ? name.substr(0, name.size() - 7) : name;
}

[[noreturn]] void throw_no_match(const std::string& key, const std::string& entry,
                                 const ModelShapes& shapes) {
    std::set<std::string> parts;
    for (const ParameterShape& p : shapes.parameters)
        if (p.linear) parts.insert(last_part(without_weight(p.name)));
    const std::vector<std::string> names(parts.begin(), parts.end());
    throw Error::config(key, ": \"", entry, "\" matches no linear layer of ", shapes.name,
                        did_you_mean(last_part(entry), names), " (its linear layers: ", join(names, ", "),
                        ")");
}

// Which of the linear parameters a list of entries chooses; every entry must choose at least one.
std::vector<bool> chosen_by(const std::vector<std::string>& entries, const std::string& key,
                            const ModelShapes& shapes) {
    std::vector<bool> chosen(shapes.parameters.size());
    for (const std::string& entry : entries) {
        bool any = false;
        for (size_t i = 0; i < shapes.parameters.size(); ++i) {
            if (!shapes.parameters[i].linear ||
                !matches_module(entry, without_weight(shapes.parameters[i].name)))
                continue;
            chosen[i] = any = true;
        }
        if (!any) throw_no_match(key, entry, shapes);
    }
    return chosen;
}

std::vector<bool> chosen_targets(const ModelShapes& shapes, const AdapterSettings& settings) {
    const std::string key = "adapter.target_modules";
    if (settings.target_regex.empty()) return chosen_by(settings.target_modules, key, shapes);
    std::vector<bool> chosen(shapes.parameters.size());
    const bool all = settings.target_regex == "all-linear";
    const PathExpression expression(all ? ".*" : settings.target_regex, key);
    bool any = false;
    for (size_t i = 0; i < shapes.parameters.size(); ++i) {
        const ParameterShape& p = shapes.parameters[i];
        if (!p.linear || (all && (p.head || p.part != "language"))) continue;
        if (!expression.matches(without_weight(p.name))) continue;
        chosen[i] = any = true;
    }
    if (!any) throw_no_match(key, settings.target_regex, shapes);
    return chosen;
}

void check_settings(const AdapterSettings& settings) {
    const auto methods = adapter_methods();
    if (std::find(methods.begin(), methods.end(), settings.method) == methods.end())
        throw Error::config("adapter.method: no method is called \"", settings.method, "\"",
                            did_you_mean(settings.method, methods), " (methods: ", join(methods, ", "), ")");
    if (settings.method == "none" || settings.method == "ft") return;
    if (settings.rank < 1) throw Error::config("adapter.rank must be at least 1, got ", settings.rank);
    if (!(settings.dropout >= 0 && settings.dropout < 1))
        throw Error::config("adapter.dropout must be in [0, 1), got ", settings.dropout);
    if (settings.dropout_placement != "input" && settings.dropout_placement != "adapter")
        throw Error::config("adapter.dropout_placement must be input or adapter, got \"",
                            settings.dropout_placement, "\"");
    if (settings.norm_grad != "detached" && settings.norm_grad != "full")
        throw Error::config("adapter.norm_grad must be detached or full, got \"", settings.norm_grad, "\"");
    if (!settings.magnitude_modules.empty() && settings.method != "dora")
        throw Error::config("adapter.magnitude_modules are for method dora, got method ", settings.method);
}

double global_alpha(const AdapterSettings& settings) {
    return settings.has_scaling ? settings.scaling * double(settings.rank) : settings.alpha;
}

template <typename T>
T by_pattern(const std::vector<std::pair<std::string, T>>& patterns, const std::string& path, T otherwise) {
    for (const auto& [key, value] : patterns)
        if (matches_pattern_key(key, path)) return value;
    return otherwise;
}

SiteChoice choose_site(const ParameterShape& parameter, bool target, const AdapterSettings& settings) {
    SiteChoice site;
    site.path = without_weight(parameter.name);
    site.out = parameter.shape.at(0);
    site.in = parameter.shape.at(1);
    site.low_rank = target;
    site.magnitude = settings.method == "dora" || settings.method == "dvora";
    site.rank = target ? settings.rank : 0;
    if (!target || settings.method == "vera" || settings.method == "dvora") return site;
    site.rank = by_pattern(settings.rank_pattern, site.path, settings.rank);
    site.alpha = by_pattern(settings.alpha_pattern, site.path, global_alpha(settings));
    if (site.rank < 1)
        throw Error::config("adapter.rank_pattern: rank of ", site.path, " must be at least 1, got ",
                            site.rank);
    site.scaling = site.alpha / (settings.rslora ? std::sqrt(double(site.rank)) : double(site.rank));
    if (!(site.scaling > 0) || !std::isfinite(site.scaling))
        throw Error::config("adapter.alpha must be above 0, got ", site.alpha, " for ", site.path);
    return site;
}

std::vector<std::string> trained_parameters(const ModelShapes& shapes, const AdapterSettings& settings,
                                            const std::vector<SiteChoice>& sites) {
    std::set<std::string> adapted, trained;
    for (const SiteChoice& site : sites) adapted.insert(site.path + ".weight");
    for (const std::string& pattern : settings.train_also) {
        bool any = false;
        for (const ParameterShape& p : shapes.parameters) {
            if (p.frozen || !matches_pattern(pattern, p.name)) continue;
            if (adapted.count(p.name))
                throw Error::config("adapter.train_also: \"", pattern, "\" matches ", p.name,
                                    ", whose layer is adapted; a weight can be trained or adapted, not both");
            trained.insert(p.name);
            any = true;
        }
        std::vector<std::string> names;
        for (const ParameterShape& p : shapes.parameters)
            if (!p.frozen) names.push_back(p.name);
        if (!any)
            throw Error::config("adapter.train_also: \"", pattern, "\" matches no parameter of ", shapes.name,
                                did_you_mean(pattern, names), " (for example ",
                                names.empty() ? "" : names.back(), ")");
    }
    std::vector<std::string> ordered;
    for (const ParameterShape& p : shapes.parameters)
        if ((settings.method == "ft" && !p.frozen) || trained.count(p.name)) ordered.push_back(p.name);
    return ordered;
}

} // namespace

bool has_wildcard(const std::string& entry) { return entry.find_first_of("*?[") != std::string::npos; }

bool matches_module(const std::string& entry, const std::string& path) {
    if (has_wildcard(entry)) return matches_pattern(entry, path) || matches_pattern("*." + entry, path);
    return path == entry || ends_with(path, "." + entry);
}

bool matches_pattern_key(const std::string& key, const std::string& path) {
    if (path == key || ends_with(path, "." + key)) return true;
    return PathExpression("(.*\\.)?(" + key + ")$", "adapter.rank_pattern or alpha_pattern").matches(path);
}

AdapterChoice choose_sites(const ModelShapes& shapes, const AdapterSettings& settings) {
    check_settings(settings);
    AdapterChoice choice;
    if (settings.method != "none" && settings.method != "ft") {
        if (settings.target_modules.empty() && settings.target_regex.empty() &&
            settings.magnitude_modules.empty())
            throw Error::config("adapter.target_modules must name at least one module");
        const std::vector<bool> targets = chosen_targets(shapes, settings);
        const std::vector<bool> magnitudes =
            chosen_by(settings.magnitude_modules, "adapter.magnitude_modules", shapes);
        for (size_t i = 0; i < shapes.parameters.size(); ++i) {
            if (!targets[i] && !magnitudes[i]) continue;
            const std::string path = without_weight(shapes.parameters[i].name);
            if (std::any_of(settings.exclude_modules.begin(), settings.exclude_modules.end(),
                            [&](const std::string& entry) { return matches_module(entry, path); }))
                continue;
            choice.sites.push_back(choose_site(shapes.parameters[i], targets[i], settings));
        }
        if (choice.sites.empty())
            throw Error::config("adapter.exclude_modules leaves no module of adapter.target_modules");
    }
    choice.trained = trained_parameters(shapes, settings, choice.sites);
    return choice;
}

} // namespace dorabench
