#include "adapters/peft_config.h"
#include "adapters/adapter_set.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using Json = nlohmann::json;
using Ordered = nlohmann::ordered_json; // for reading: the first pattern that matches wins

Json number(double value) { // as Python writes it: 8, not 8.0, where the user gave a whole number
    if (value == std::floor(value) && std::abs(value) < 1e15) return int64_t(value);
    return value;
}

bool is_low_rank(const AdapterSettings& settings) {
    return settings.method == "lora" || settings.method == "dora";
}

// PEFT's lists know names and their ends only; anything else is written as the modules that it chose.
Json target_modules(const AdapterSettings& settings, const AdapterChoice& choice) {
    if (!settings.target_regex.empty() && settings.target_regex != "all-linear" &&
        settings.magnitude_modules.empty() && settings.exclude_modules.empty())
        return settings.target_regex;
    const bool plain =
        settings.target_regex.empty() && settings.magnitude_modules.empty() &&
        std::none_of(settings.target_modules.begin(), settings.target_modules.end(), has_wildcard) &&
        std::none_of(settings.exclude_modules.begin(), settings.exclude_modules.end(), has_wildcard);
    std::set<std::string> names;
    if (plain) names.insert(settings.target_modules.begin(), settings.target_modules.end());
    if (!plain)
        for (const SiteChoice& site : choice.sites) names.insert(site.path);
    return Json(names);
}

Json own_part(const AdapterSettings& settings) {
    Json own = Json::object();
    if (settings.method == "dora" && settings.norm_grad != "detached") own["norm_grad"] = settings.norm_grad;
    if (settings.method == "dvora" && settings.norm_grad != "detached") own["norm_grad"] = settings.norm_grad;
    if (settings.dropout > 0 && settings.dropout_placement != "input")
        own["dropout_placement"] = settings.dropout_placement;
    if (!settings.magnitude_modules.empty()) {
        own["magnitude_modules"] = settings.magnitude_modules;
        own["target_modules"] =
            settings.target_regex.empty() ? Json(settings.target_modules) : Json(settings.target_regex);
    }
    if (!settings.train_also.empty()) own["train_also"] = settings.train_also;
    return own;
}

// Keys are written sorted, as PEFT does; the first that matches wins, so the order may matter.
bool resolves_alike(const Json& ranks, const Json& alphas, const AdapterSettings& settings,
                    const AdapterChoice& choice) {
    auto resolve = [](const Json& patterns, const std::string& path, double otherwise) {
        for (const auto& [key, value] : patterns.items())
            if (matches_pattern_key(key, path)) return value.get<double>();
        return otherwise;
    };
    const double alpha = settings.has_scaling ? settings.scaling * double(settings.rank) : settings.alpha;
    return std::all_of(choice.sites.begin(), choice.sites.end(), [&](const SiteChoice& site) {
        return !site.low_rank || (resolve(ranks, site.path, double(settings.rank)) == double(site.rank) &&
                                  resolve(alphas, site.path, alpha) == site.alpha);
    });
}

void add_lora_fields(Json& config, const AdapterSettings& settings, const AdapterChoice& choice,
                     int64_t factor) {
    const double alpha = settings.has_scaling ? settings.scaling * double(settings.rank) : settings.alpha;
    // With the rank doubled, alpha grows so that the scaling stays what it is.
    const double alpha_factor = settings.rslora ? std::sqrt(double(factor)) : double(factor);
    for (const char* name :
         {"alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config",
          "kasa_config", "layer_replication", "layers_pattern", "layers_to_transform", "lora_ga_config",
          "megatron_config", "modules_to_save", "monteclora_config", "revision", "target_parameters",
          "trainable_token_indices", "use_bdlora", "velora_config"})
        config[name] = nullptr;
    for (const char* name : {"ensure_weight_tying", "fan_in_fan_out", "lora_bias", "use_qalora"})
        config[name] = false;
    config["loftq_config"] = Json::object();
    config["megatron_core"] = "megatron.core";
    config["qalora_group_size"] = 16;
    config["init_lora_weights"] = settings.init == "gaussian" ? Json("gaussian") : Json(true);
    config["r"] = settings.rank * factor;
    config["lora_alpha"] = number(alpha * alpha_factor);
    config["lora_dropout"] = settings.dropout;
    config["use_dora"] = settings.method == "dora";
    config["use_rslora"] = settings.rslora;
    Json ranks = Json::object(), alphas = Json::object();
    for (const auto& [key, rank] : settings.rank_pattern) ranks[key] = rank;
    for (const auto& [key, value] : settings.alpha_pattern) alphas[key] = value;
    if (!resolves_alike(ranks, alphas, settings,
                        choice)) { // two keys meet one module: name every module instead
        ranks = alphas = Json::object();
        for (const SiteChoice& site : choice.sites)
            if (site.low_rank) ranks[site.path] = site.rank, alphas[site.path] = site.alpha;
    }
    for (auto& rank : ranks) rank = rank.get<int64_t>() * factor;
    for (auto& value : alphas) value = number(value.get<double>() * alpha_factor);
    // A magnitude-only module goes out as DoRA with a zero pair of rank 1, which PEFT computes to the same.
    for (const SiteChoice& site : choice.sites)
        if (!site.low_rank) ranks[site.path] = 1;
    config["rank_pattern"] = ranks;
    config["alpha_pattern"] = alphas;
}

// Reading: one field after another, with the folder named in every message.
class ConfigReader {
public:
    explicit ConfigReader(const std::string& folder) : path_(folder + "/" + kConfigFile) {
        try {
            json_ = Ordered::parse(read_file(path_, 16 << 20));
        } catch (const Json::exception& error) {
            throw Error::data(path_, ": not JSON: ", error.what());
        }
        if (!json_.is_object()) throw Error::data(path_, ": expected an object");
    }
    const Ordered* find(const std::string& name) const {
        const auto at = json_.find(name);
        return at == json_.end() || at->is_null() ? nullptr : &*at;
    }
    template <typename T>
    T get(const std::string& name, T otherwise) const {
        const Ordered* value = find(name);
        return value ? as<T>(name, *value) : otherwise;
    }
    template <typename T>
    T as(const std::string& name, const Ordered& value) const {
        const bool fits = std::is_same_v<T, bool>          ? value.is_boolean()
                          : std::is_same_v<T, int64_t>     ? value.is_number_integer()
                          : std::is_same_v<T, double>      ? value.is_number()
                          : std::is_same_v<T, std::string> ? value.is_string()
                                                           : is_strings(value);
        if (!fits) throw Error::data(path_, ": ", name, " has an unexpected value: ", value.dump());
        return value.get<T>();
    }
    // Names or an expression, as target_modules.
    void modules(const std::string& name, const Ordered* value, std::vector<std::string>& list,
                 std::string& regex) const {
        if (!value) throw Error::data(path_, ": ", name, " is missing");
        if (value->is_string()) {
            regex = value->get<std::string>();
        } else {
            list = as<std::vector<std::string>>(name, *value);
        }
    }
    template <typename T>
    std::vector<std::pair<std::string, T>> pattern(const std::string& name) const {
        std::vector<std::pair<std::string, T>> pairs;
        const Ordered* value = find(name);
        if (!value) return pairs;
        if (!value->is_object()) throw Error::data(path_, ": ", name, " must be an object");
        for (const auto& [key, entry] : value->items())
            pairs.emplace_back(key, as<T>(name + "." + key, entry));
        return pairs;
    }
    // Every option that is set and that neither `known` nor the harmless ones cover is refused by name.
    void refuse_others(const std::set<std::string>& known) const {
        for (const auto& [name, value] : json_.items()) {
            const bool off = value.is_null() || value == false || (value.is_structured() && value.empty());
            if (off || known.count(name)) continue;
            throw Error::data(path_, ": option ", name, " = ", value.dump(), " is not supported");
        }
    }
    [[noreturn]] void refuse(const std::string& name, const std::string& why) const {
        throw Error::data(path_, ": ", name, " = ", json_.at(name).dump(), " is not supported", why);
    }
    const Ordered& json() const { return json_; }
    const std::string& path() const { return path_; }

private:
    static bool is_strings(const Ordered& value) {
        return value.is_array() &&
               std::all_of(value.begin(), value.end(), [](const Ordered& v) { return v.is_string(); });
    }
    std::string path_;
    Ordered json_;
};

const std::set<std::string>& harmless() { // about where a file comes from, and about how training began
    static const std::set<std::string> names = {"auto_mapping",
                                                "base_model_name_or_path",
                                                "bias",
                                                "corda_config",
                                                "dora_bench",
                                                "eva_config",
                                                "exclude_modules",
                                                "inference_mode",
                                                "init_weights",
                                                "layers_pattern",
                                                "loftq_config",
                                                "lora_ga_config",
                                                "megatron_core",
                                                "modules_to_save",
                                                "peft_type",
                                                "peft_version",
                                                "qalora_group_size",
                                                "r",
                                                "revision",
                                                "target_modules",
                                                "task_type",
                                                "ensure_weight_tying"};
    return names;
}

void read_lora(const ConfigReader& reader, AdapterSettings& settings) {
    std::set<std::string> known = harmless();
    known.insert({"lora_alpha", "lora_dropout", "use_dora", "use_rslora", "rank_pattern", "alpha_pattern",
                  "init_lora_weights"});
    reader.refuse_others(known);
    if (const Ordered* init = reader.find("init_lora_weights"); init && init->is_string()) {
        // These leave the base as it is. Others (pissa, olora, corda, loftq, …) change it, and their
        // unconverted pairs mean something only beside the changed base.
        const std::set<std::string> plain = {"gaussian", "eva", "orthogonal"};
        if (!plain.count(init->get<std::string>()))
            reader.refuse("init_lora_weights", "; save the adapter converted to plain LoRA "
                                               "(path_initial_model_for_weight_conversion)");
        if (*init == "gaussian") settings.init = "gaussian";
    }
    settings.method = reader.get("use_dora", false) ? "dora" : "lora";
    settings.alpha = reader.get("lora_alpha", 8.0);
    settings.has_alpha = true;
    settings.dropout = reader.get("lora_dropout", 0.0);
    settings.rslora = reader.get("use_rslora", false);
    settings.rank_pattern = reader.pattern<int64_t>("rank_pattern");
    settings.alpha_pattern = reader.pattern<double>("alpha_pattern");
}

void read_vera(const ConfigReader& reader, AdapterSettings& settings) {
    std::set<std::string> known = harmless();
    known.insert({"vera_dropout", "d_initial", "projection_prng_key", "save_projection"});
    reader.refuse_others(known);
    settings.dropout = reader.get("vera_dropout", 0.0);
    settings.d_initial = reader.get("d_initial", 0.1);
    settings.projection_prng_key = reader.get("projection_prng_key", int64_t(0));
    settings.save_projection = reader.get("save_projection", true);
}

void read_own_part(const ConfigReader& reader, AdapterSettings& settings) {
    const Ordered* own = reader.find("dora_bench");
    if (!own) return;
    if (!own->is_object()) throw Error::data(reader.path(), ": dora_bench must be an object");
    for (const auto& [name, value] : own->items()) {
        const std::string place = "dora_bench." + name;
        if (name == "norm_grad") {
            settings.norm_grad = reader.as<std::string>(place, value);
        } else if (name == "dropout_placement") {
            settings.dropout_placement = reader.as<std::string>(place, value);
        } else if (name == "train_also") {
            settings.train_also = reader.as<std::vector<std::string>>(place, value);
        } else if (name == "magnitude_modules") {
            settings.magnitude_modules = reader.as<std::vector<std::string>>(place, value);
        } else if (name == "target_modules") {
            settings.target_modules.clear();
            settings.target_regex.clear();
            reader.modules(place, &value, settings.target_modules, settings.target_regex);
        } else {
            throw Error::data(reader.path(), ": option ", place,
                              " is not supported; written by a newer version?");
        }
    }
}

void read_common(const ConfigReader& reader, AdapterSettings& settings) {
    settings.rank = reader.get("r", int64_t(8));
    reader.modules("target_modules", reader.find("target_modules"), settings.target_modules,
                   settings.target_regex);
    if (const Ordered* exclude = reader.find("exclude_modules")) {
        if (exclude->is_string()) reader.refuse("exclude_modules", " as an expression; give a list");
        settings.exclude_modules = reader.as<std::vector<std::string>>("exclude_modules", *exclude);
    }
    if (reader.get("bias", std::string("none")) != "none") reader.refuse("bias", " (only \"none\")");
    for (const std::string& module : reader.get("modules_to_save", std::vector<std::string>()))
        settings.train_also.push_back("*" + module + ".*"); // PEFT: every module whose path ends so
}

} // namespace

std::string adapter_config_text(const AdapterSettings& settings, const AdapterChoice& choice,
                                const std::string& backend, const std::string& base_name,
                                int64_t rank_factor) {
    const std::map<std::string, std::string> types = {{"none", "NONE"}, {"ft", "FT"},     {"lora", "LORA"},
                                                      {"dora", "LORA"}, {"vera", "VERA"}, {"dvora", "DVORA"}};
    Json config;
    config["peft_type"] = types.at(settings.method);
    config["task_type"] = backend == "vlbart" ? "SEQ_2_SEQ_LM" : "CAUSAL_LM";
    config["base_model_name_or_path"] = base_name.empty() ? Json(nullptr) : Json(base_name);
    config["inference_mode"] = true;
    config["bias"] = "none";
    if (!choice.sites.empty()) {
        config["peft_version"] = "0.21.2"; // of the format
        config["target_modules"] = target_modules(settings, choice);
        const bool listed = config["target_modules"].is_string() || settings.exclude_modules.empty();
        if (is_low_rank(settings)) config["exclude_modules"] = nullptr;
        if (!listed && settings.magnitude_modules.empty() && settings.target_regex.empty())
            config["exclude_modules"] = settings.exclude_modules;
    }
    if (is_low_rank(settings)) add_lora_fields(config, settings, choice, rank_factor);
    if (settings.method == "vera" || settings.method == "dvora") {
        for (const char* name :
             {"auto_mapping", "layers_pattern", "layers_to_transform", "modules_to_save", "revision"})
            config[name] = nullptr;
        config["fan_in_fan_out"] = false;
        config["init_weights"] = true;
        config["r"] = settings.rank;
        config["d_initial"] = settings.d_initial;
        config["projection_prng_key"] = settings.projection_prng_key;
        config["save_projection"] = settings.save_projection;
        config["vera_dropout"] = settings.dropout;
    }
    if (const Json own = own_part(settings); !own.empty()) config["dora_bench"] = own;
    return config.dump(2) + "\n";
}

AdapterSettings read_adapter_settings(const std::string& folder) {
    const ConfigReader reader(folder);
    AdapterSettings settings;
    const std::string type = reader.get("peft_type", std::string());
    if (type == "FT" || type == "NONE") {
        settings.method = type == "FT" ? "ft" : "none";
        read_own_part(reader, settings);
        return settings;
    }
    read_common(reader, settings);
    if (type == "LORA") {
        read_lora(reader, settings);
    } else if (type == "VERA" || type == "DVORA") {
        settings.method = lower(type);
        read_vera(reader, settings);
    } else {
        throw Error::data(reader.path(), ": peft_type must be LORA, VERA or DVORA, got \"", type, "\"");
    }
    read_own_part(reader, settings);
    return settings;
}

} // namespace dorabench
