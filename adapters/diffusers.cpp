#include "adapters/diffusers.h"
#include "adapters/peft_config.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using Json = nlohmann::ordered_json;
using Pairs = std::vector<std::pair<std::string, std::string>>;

constexpr const char* kModels[] = {"unet",           "transformer",    "transformer_2", "prior",
                                   "text_encoder_2", "text_encoder_3", "text_encoder"};
constexpr const char* kOptions = "lora_adapter_metadata";

std::string model_of(const std::string& key) {
    for (const std::string model : kModels)
        if (starts_with(key, model + ".")) return model;
    return {};
}

// A key without its model, in PEFT's spelling.
std::string peft_name(const std::string& key, const std::string& model) {
    static const Pairs unet = {{".to_q_lora.", ".to_q.lora."},
                               {".to_k_lora.", ".to_k.lora."},
                               {".to_v_lora.", ".to_v.lora."},
                               {".to_out_lora.", ".to_out.0.lora."},
                               {".to_out.lora_magnitude", ".to_out.0.lora_magnitude"}};
    static const Pairs text = {{".to_q_lora.", ".q_proj.lora."},
                               {".to_k_lora.", ".k_proj.lora."},
                               {".to_v_lora.", ".v_proj.lora."},
                               {".to_out_lora.", ".out_proj.lora."},
                               {".to_q.lora_magnitude", ".q_proj.lora_magnitude"},
                               {".to_k.lora_magnitude", ".k_proj.lora_magnitude"},
                               {".to_v.lora_magnitude", ".v_proj.lora_magnitude"},
                               {".to_out.lora_magnitude", ".out_proj.lora_magnitude"}};
    static const Pairs both = {{".lora_linear_layer.", ".lora."},
                               {".lora.down.weight", ".lora_A.weight"},
                               {".lora.up.weight", ".lora_B.weight"}};
    std::string name = replace_all(key.substr(model.size()), ".processor.", ".");
    for (const auto& [from, to] : starts_with(model, "text_encoder") ? text : unet)
        name = replace_all(name, from, to);
    for (const auto& [from, to] : both) name = replace_all(name, from, to);
    return name.substr(1);
}

bool is_adapters(const std::string& name) {
    for (const char* end : {".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector",
                            ".lora_magnitude_vector.weight", ".alpha"})
        if (ends_with(name, end)) return true;
    return false;
}

std::string options_of(const Json& all, const std::string& model) {
    Json config = Json::object();
    for (const auto& [key, value] : all.items())
        if (starts_with(key, model + ".")) config[key.substr(model.size() + 1)] = value;
    if (config.empty()) return {};
    config["peft_type"] = "LORA";
    return config.dump();
}

} // namespace

std::map<std::string, ForeignFile> diffusers_parts(const ForeignFile& file) {
    if (!file.config.empty()) return {}; // PEFT's folder, or another project's
    bool any = false;
    for (const NamedTensor& t : file.tensors)
        if (const std::string model = model_of(t.name); !model.empty())
            any = any || ends_with(peft_name(t.name, model), ".lora_A.weight");
    if (!any) return {};
    Json options = Json::object();
    if (const auto at = file.metadata.find(kOptions); at != file.metadata.end()) {
        options = Json::parse(at->second, nullptr, false);
        if (!options.is_object())
            throw Error::data(file.path, ": header: ", kOptions, ": expected a JSON object");
    }
    std::map<std::string, ForeignFile> parts;
    for (const NamedTensor& t : file.tensors) {
        const std::string model = model_of(t.name), name = model.empty() ? "" : peft_name(t.name, model);
        if (!is_adapters(name))
            throw Error::data(file.path, ": ", t.name,
                              ": expected lora_A, lora_B, lora_magnitude_vector or alpha of a pipeline's "
                              "model; the file mixes in something else, which cannot be converted: merge it "
                              "with Diffusers itself");
        ForeignFile& part = parts[model];
        part.tensors.push_back({kKeyPrefix + name, t.tensor});
    }
    for (auto& [model, part] : parts) {
        part.path = file.path;
        part.format = "diffusers";
        part.config = options_of(options, model);
    }
    return parts;
}

} // namespace dorabench
