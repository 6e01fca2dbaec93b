#include "adapters/foreign.h"
#include "adapters/adapter_set.h"
#include "adapters/peft_config.h"
#include "adapters/vera.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

namespace dorabench {
namespace {

using Json = nlohmann::ordered_json;

struct Module { // one adapted layer, in PEFT's orientation once it is converted
    at::Tensor a, b, magnitude;
    double alpha = 0;                // 0: the file's
    std::string a_key, b_key, m_key; // as stored, for messages
};

struct Ending {
    const char* text;
    char role; // a, b, m, s (alpha)
};
constexpr Ending kEndings[] = {
    {".lora_A.weight", 'a'},
    {".lora_B.weight", 'b'},
    {".lora_A", 'a'},
    {".lora_B", 'b'},
    {".lora_a.weight", 'a'},
    {".lora_b.weight", 'b'},
    {".lora_a", 'a'},
    {".lora_b", 'b'},
    {".lora_down.weight", 'a'},
    {".lora_up.weight", 'b'},
    {".weight_m_wdecomp.weight", 'm'},
    {".weight_m_wdecomp", 'm'},
    {".weight_m", 'm'},
    {".lora_magnitude_vector.weight", 'm'},
    {".lora_magnitude_vector", 'm'},
    {".magnitude_layer.magnitude", 'm'},
    {".magnitude", 'm'},
    {".dora_scale", 'm'},
    {".m", 'm'},
    {".alpha", 's'},
};

// What a key says without the wrappers that trainers add.
std::string plain_key(std::string key) {
    for (const char* prefix : {"base_model.model.", "_fsdp_wrapped_module.", "module."})
        if (starts_with(key, prefix)) key = key.substr(std::string(prefix).size());
    for (const char* infix : {"_fsdp_wrapped_module.", "_checkpoint_wrapped_module."})
        key = replace_all(key, infix, "");
    key = replace_all(key, ".dora_layer.", ".");
    if (ends_with(key, ".default")) key = key.substr(0, key.size() - 8);
    return replace_all(key, ".default.", ".");
}

class Importer {
public:
    Importer(const ForeignFile& file, const ForeignOptions& options) : file_(file), options_(options) {
        if (!file.config.empty()) {
            config_ = Json::parse(file.config, nullptr, false);
            if (!config_.is_object())
                throw Error::data(file.path, ": the adapter_config.json beside it is not a JSON object");
        }
    }
    ImportedAdapter run() {
        out_.format = file_.format.empty() ? format() : file_.format;
        if (out_.format == "peft" || (out_.format == "diffusers" && !file_.config.empty())) return peft();
        if (out_.format == "catid")
            throw Error::data(file_.path,
                              ": catid/dora's form has one magnitude per input (norm over dim 0), which is "
                              "another method than DoRA (one per output row) and cannot be converted; merge "
                              "it into its base with its own code and import nothing");
        collect();
        for (auto& [path, module] : modules_) convert(path, module);
        return neutral();
    }

private:
    [[noreturn]] void fail(const std::string& key, const std::string& what) const {
        throw Error::data(file_.path, ": ", key, ": ", what);
    }
    bool any_ending(const std::string& ending) const {
        return std::any_of(file_.tensors.begin(), file_.tensors.end(),
                           [&](const NamedTensor& t) { return ends_with(plain_key(t.name), ending); });
    }
    std::string format() const {
        const std::string type =
            config_.is_object() && config_.contains("peft_type") && config_["peft_type"].is_string()
                ? config_["peft_type"].get<std::string>()
                : "";
        if (any_ending(".weight_m_wdecomp.weight") || any_ending(".weight_m_wdecomp") || type == "DORA")
            return "nvlabs";
        if (any_ending(".weight_m") && any_ending(".weight_v")) return "vl-bart";
        if (any_ending(".lora_down.weight")) return "kohya";
        if (any_ending(".magnitude_layer.magnitude")) return "fsdp_qlora";
        if (any_ending(".lora_a.weight")) return "torchtune";
        if (any_ending(".lora_a")) return "mlx";
        if (any_ending(".lora_A") && any_ending(".m")) return "catid";
        if (!type.empty()) return "peft";
        if (any_ending(".lora_A.weight")) return "fsdp_qlora"; // its QLoRA: PEFT's names without PEFT's file
        throw Error::data(
            file_.path,
            ": expected an adapter of PEFT, NVlabs, VL-BART, torchtune, mlx-lm, kohya, LyCORIS "
            "fsdp_qlora or Diffusers; none of its ",
            file_.tensors.size(), " tensors has such a name",
            any_ending(".lora_A.weight") ? "" : "; a PEFT adapter needs its adapter_config.json beside it");
    }

    static void check_values(const std::string& file, const NamedTensor& t) {
        if (!t.tensor.is_floating_point())
            throw Error::data(file, ": ", t.name, ": expected floating-point values");
        if (!t.tensor.isfinite().all().item<bool>())
            throw Error::data(file, ": ", t.name,
                              ": holds NaN or infinity; the adapter is damaged, fetch it again");
    }

    // --- PEFT's own folder: names set right, the rest as it is.
    ImportedAdapter peft() {
        std::set<std::string> paths, names;
        for (const NamedTensor& t : file_.tensors) {
            std::string name = t.name;
            const std::string spelt = ".lora_magnitude_vector";
            name = replace_all(name, ".default.", ".");
            if (ends_with(name, ".default")) name = name.substr(0, name.size() - 8);
            if (ends_with(name, spelt + ".weight")) name = name.substr(0, name.size() - 7);
            if (t.tensor.is_floating_point()) check_values(file_.path, t);
            for (const char* end :
                 {".lora_A.weight", ".lora_B.weight", ".vera_lambda_b", ".lora_magnitude_vector"})
                if (ends_with(name, end) && starts_with(name, kKeyPrefix)) {
                    const size_t prefix = std::string(kKeyPrefix).size();
                    const std::string path =
                        module_path(name.substr(prefix, name.size() - std::string(end).size() - prefix));
                    paths.insert(path);
                    name = kKeyPrefix + path + end;
                }
            if (!names.insert(name).second) fail(t.name, "stands twice, as two spellings of one tensor");
            out_.tensors.push_back({name, t.tensor});
        }
        const bool dora = config_.value("use_dora", Json(false)) == true;
        for (const std::string& path : paths) {
            const std::string at = kKeyPrefix + path;
            if (names.count(at + ".vera_lambda_b")) continue;
            for (const char* part : {".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"})
                if (!names.count(at + part) && (dora || std::string(part) != ".lora_magnitude_vector"))
                    fail(at + part,
                         "is missing; the adapter was cut off or saved without it, fetch or save it again");
        }
        // what PEFT resolves on the model stands in the file's keys
        const auto chosen = [&](const char* key) {
            const auto at = config_.find(key);
            return at != config_.end() && !at->is_null() && !(at->is_structured() && at->empty());
        };
        if (out_.format == "diffusers" || chosen("layers_to_transform") ||
            (chosen("exclude_modules") && config_["exclude_modules"].is_string())) {
            config_["target_modules"] = std::vector<std::string>(paths.begin(), paths.end());
            for (const char* key : {"layers_to_transform", "layers_pattern", "exclude_modules"})
                config_[key] = nullptr;
        }
        out_.config = config_.dump(2) + "\n";
        return std::move(out_);
    }

    // --- The others: gather the parts of each module.
    void collect() {
        for (const NamedTensor& t : file_.tensors) {
            const std::string key = plain_key(t.name);
            const Ending* ending = nullptr;
            for (const Ending& candidate : kEndings)
                if (!ending && ends_with(key, candidate.text)) ending = &candidate;
            const bool vlbart = out_.format == "vl-bart";
            if (!ending && out_.format == "kohya")
                fail(t.name,
                     "expected lora_down, lora_up, alpha or dora_scale; the file mixes in another method "
                     "(LoHa, LoKr, Tucker's lora_mid, a full difference), which cannot be converted: "
                     "merge it with its own tool");
            if (!ending ||
                (ending->role == 'm' && std::string(ending->text) == ".m" && out_.format != "mlx")) {
                if (vlbart && trained_in_vlbart(key)) {
                    check_values(file_.path, t);
                    extra_.push_back({key, t.tensor.to(at::kFloat)});
                } else {
                    ++out_.left_out;
                }
                continue;
            }
            check_values(file_.path, t);
            Module& module = modules_[key.substr(0, key.size() - std::string(ending->text).size())];
            const at::Tensor value = t.tensor.detach().to(at::kFloat);
            if (ending->role == 's') {
                if (value.numel() != 1 || value.item<double>() <= 0)
                    fail(t.name, "expected one positive number");
                module.alpha = value.item<double>();
                continue;
            }
            at::Tensor& slot = ending->role == 'a'   ? module.a
                               : ending->role == 'b' ? module.b
                                                     : module.magnitude;
            if (slot.defined()) fail(t.name, "stands twice, as two spellings of one tensor");
            slot = value;
            (ending->role == 'a' ? module.a_key : ending->role == 'b' ? module.b_key : module.m_key) = t.name;
        }
        std::erase_if(modules_, [](const auto& entry) { // .alpha or .m of something else
            return !entry.second.a.defined() && !entry.second.b.defined() &&
                   !entry.second.magnitude.defined();
        });
        if (modules_.empty()) throw Error::data(file_.path, ": holds no adapted module");
    }
    static bool trained_in_vlbart(const std::string& key) {
        return ends_with(key, ".bias") || key.find("layer_norm") != std::string::npos ||
               key.find("layernorm") != std::string::npos ||
               key.find("visual_embedding") != std::string::npos;
    }

    void convert(const std::string& path, Module& m) {
        if (m.a.defined() != m.b.defined())
            fail(path + (m.a.defined() ? ": its B (lora_B, lora_b, lora_up)"
                                       : ": its A (lora_A, lora_a, lora_down)"),
                 "is missing; the adapter was cut off, fetch or save it again");
        if (m.a.defined()) {
            const bool kernels = out_.format == "kohya" || out_.format == "diffusers";
            for (const auto& [tensor, key] : {std::pair{&m.a, &m.a_key}, std::pair{&m.b, &m.b_key}})
                if (tensor->dim() != 2 && !(kernels && tensor->dim() > 2 && tensor->dim() < 6))
                    fail(*key, cat("expected a matrix, got ", tensor->dim(), " dimensions"));
            if (m.b.numel() != m.b.size(0) * m.b.size(1))
                fail(m.b_key, "expected [out, r, 1, 1], one value a rank and output channel; a wider kernel "
                              "is of another method and cannot be converted");
            if (m.a.dim() > 2 && is_linear(path)) m.a = flat_kernel(m.a, m.a_key), m.b = m.b.flatten(1);
            if (out_.format == "mlx") m.a = m.a.t().contiguous(), m.b = m.b.t().contiguous();
            if (m.a.size(0) != m.b.size(1) || m.a.size(0) == 0)
                fail(m.b_key, cat("expected [out, r] with r = ", m.a.size(0), " as ", m.a_key,
                                  " has it, got ", m.b.size(0), " by ", m.b.size(1)));
        }
        if (m.magnitude.defined()) m.magnitude = magnitude(m);
        if (m.magnitude.defined() && m.a.defined() && m.a.dim() > 2) { // as PEFT keeps a convolution's
            std::vector<int64_t> shape(size_t(m.a.dim()), 1);
            shape[1] = m.magnitude.numel();
            m.magnitude = m.magnitude.view(shape);
        }
        if (out_.format == "torchtune") reorder(path, m);
    }

    // Some tools keep a linear layer's pair as a kernel of 1 by 1.
    bool is_linear(const std::string& path) const {
        return !options_.base_paths.empty() && !options_.convolutions.count(module_path(path));
    }
    at::Tensor flat_kernel(const at::Tensor& a, const std::string& key) const {
        if (a.numel() != a.size(0) * a.size(1))
            fail(key,
                 "is a convolution's kernel, and the base has a linear layer there; name the base that the "
                 "adapter was made for");
        return a.flatten(1);
    }

    at::Tensor magnitude(const Module& m) const {
        const at::Tensor& t = m.magnitude;
        const bool vector = t.dim() > 0 && t.numel() == *std::max_element(t.sizes().begin(), t.sizes().end());
        if (!vector) fail(m.m_key, "expected one value per output row, [out] or [out, 1]");
        if (!m.a.defined()) return t.reshape(-1).contiguous();
        const int64_t out = m.b.size(0), in = m.a.size(1), n = t.numel();
        std::string axis = n == out ? "out" : n == in ? "in" : "";
        if (axis.empty()) fail(m.m_key, cat("expected ", out, " values, one per output row, got ", n));
        if (out_.format == "kohya" && out == in) {
            axis = t.dim() == 1 || n == 1 ? options_.dora_axis : t.size(0) == n ? "out" : "in";
            if (!options_.dora_axis.empty()) axis = options_.dora_axis;
            if (axis.empty())
                fail(m.m_key, cat("has ", n,
                                  " values on a square layer: one per output row or one per input? Say "
                                  "--dora-axis out or --dora-axis in"));
        }
        if (axis == "in")
            fail(
                m.m_key,
                "has one value per input (norm over the outputs), which is another method than DoRA (one per "
                "output row) and cannot be converted; merge it with its own tool instead");
        return t.reshape(-1).contiguous();
    }

    // torchtune's names, and its order of rows: pairs of one rotation side by side, where HF has them half a
    // head apart.
    void reorder(const std::string& path, Module& m) const {
        const bool q = ends_with(path, "q_proj"), k = ends_with(path, "k_proj");
        if (!q && !k) return;
        const int64_t heads = q ? options_.heads : options_.kv_heads,
                      out = m.b.defined() ? m.b.size(0) : m.magnitude.size(0);
        if (heads <= 0)
            fail(path, "torchtune orders the rows of q and k by attention head; name the base with "
                       "--checkpoint DIR, whose "
                       "config.json tells their number");
        if (out % (2 * heads))
            fail(m.b_key, cat("has ", out, " rows, which ", heads, " heads do not divide evenly"));
        auto turned = [&](const at::Tensor& t) {
            const int64_t columns = t.numel() / out;
            return t.reshape({heads, out / heads / 2, 2, columns})
                .transpose(1, 2)
                .reshape(t.sizes())
                .contiguous();
        };
        if (m.b.defined()) m.b = turned(m.b);
        if (m.magnitude.defined()) m.magnitude = turned(m.magnitude);
    }

    std::string module_path(const std::string& name) const {
        if (out_.format == "torchtune") {
            std::string path = name;
            for (const auto& [from, to] :
                 std::vector<std::pair<std::string, std::string>>{{".attn.output_proj", ".self_attn.o_proj"},
                                                                  {".attn.", ".self_attn."},
                                                                  {".mlp.w1", ".mlp.gate_proj"},
                                                                  {".mlp.w2", ".mlp.down_proj"},
                                                                  {".mlp.w3", ".mlp.up_proj"}})
                if (path.find(to) == std::string::npos) path = replace_all(path, from, to);
            if (starts_with(path, "layers.")) path = "model." + path;
            return path == "output" ? "lm_head" : path;
        }
        if (out_.format == "diffusers") { // text encoders: with and without the outer class's name
            const auto known = [&](const std::string& path) {
                return std::find(options_.base_paths.begin(), options_.base_paths.end(), path) !=
                       options_.base_paths.end();
            };
            const std::string outer = "text_model.",
                              other = starts_with(name, outer) ? name.substr(outer.size()) : outer + name;
            return !known(name) && known(other) ? other : name;
        }
        if (out_.format != "kohya" || name.find('.') != std::string::npos) return name;
        std::string found;
        for (const std::string& path : options_.base_paths) {
            const std::string flat = replace_all(path, ".", "_");
            if (name != flat && !ends_with(name, "_" + flat)) continue;
            if (path.size() > found.size()) found = path;
        }
        if (found.empty())
            fail(name,
                 options_.base_paths.empty()
                     ? "its name has underscores where modules have dots; name the base with --checkpoint DIR"
                     : "no linear module of the --checkpoint has that name");
        return found;
    }

    // The number alpha / r that the whole file has, as alpha at the module's rank.
    double alpha_of(const Module& m) const {
        const double rank = double(m.a.size(0));
        if (out_.format == "vl-bart") return rank;
        if (out_.format == "kohya") return m.alpha > 0 ? m.alpha : rank;
        if (out_.format == "diffusers")
            return m.alpha > 0 ? m.alpha : options_.alpha > 0 ? options_.alpha : rank;
        if (out_.format == "fsdp_qlora" && m.magnitude.defined()) return rank;
        if (out_.format == "mlx") {
            const Json& parameters = config_.is_object() && config_.contains("lora_parameters")
                                         ? config_["lora_parameters"]
                                         : config_;
            const Json scale = parameters.is_object() ? parameters.value("scale", Json()) : Json();
            if (scale.is_number() && scale.get<double>() > 0) return scale.get<double>() * rank;
        } else if (config_.is_object()) {
            const Json alpha = config_.value("lora_alpha", Json());
            if (alpha.is_number() && alpha.get<double>() > 0) return alpha.get<double>();
        }
        if (options_.alpha > 0) return options_.alpha;
        throw Error::data(
            file_.path, ": the scaling of the update is not in the file and there is no adapter_config.json "
                        "beside it that tells; give --alpha (alpha = scale * rank)");
    }

    ImportedAdapter neutral() {
        AdapterSettings settings;
        AdapterChoice choice;
        std::map<int64_t, int64_t> ranks;
        int64_t with = 0, without = 0;
        std::string lora_only;
        for (const auto& [name, m] : modules_) {
            if (m.a.defined()) ++ranks[m.a.size(0)];
            m.magnitude.defined() ? ++with : ++without;
            if (!m.magnitude.defined()) lora_only = name;
        }
        if (with && without)
            fail(lora_only, cat("has no magnitude where ", with,
                                " other modules have one; magnitudes were lost on the way "
                                "(or two methods mixed), save the adapter again"));
        settings.method = with ? "dora" : "lora";
        if (ranks.empty())
            throw Error::data(
                file_.path, ": holds magnitudes alone, without a low-rank pair anywhere; nothing to import");
        settings.rank = std::max_element(ranks.begin(), ranks.end(), [](auto& a, auto& b) {
                            return a.second < b.second;
                        })->first;
        settings.has_alpha = true;
        if (config_.is_object() && config_.value("lora_dropout", Json()).is_number())
            settings.dropout = std::clamp(config_["lora_dropout"].get<double>(), 0.0, 0.99);
        for (const auto& [name, m] : modules_) add_module(name, m, settings, choice);
        for (NamedTensor& t : extra_) {
            settings.train_also.push_back(t.name);
            out_.tensors.push_back(t);
        }
        out_.config = adapter_config_text(settings, choice, out_.format == "vl-bart" ? "vlbart" : "",
                                          options_.base_name, 1);
        if (out_.format == "diffusers") { // no language model
            Json config = Json::parse(out_.config);
            config["task_type"] = nullptr;
            out_.config = config.dump(2) + "\n";
        }
        return std::move(out_);
    }
    void add_module(const std::string& name, const Module& m, AdapterSettings& settings,
                    AdapterChoice& choice) {
        SiteChoice site;
        site.path = module_path(name);
        site.magnitude = m.magnitude.defined();
        site.low_rank = m.a.defined();
        const std::string at = kKeyPrefix + site.path;
        if (site.low_rank) {
            site.rank = m.a.size(0), site.in = m.a.numel() / site.rank, site.out = m.b.size(0);
            site.alpha = alpha_of(m);
            if (settings.alpha == 0) settings.alpha = site.alpha;
            settings.target_modules.push_back(site.path);
            if (site.rank != settings.rank) settings.rank_pattern.emplace_back(site.path, site.rank);
            if (site.alpha != settings.alpha) settings.alpha_pattern.emplace_back(site.path, site.alpha);
            out_.tensors.push_back({at + ".lora_A.weight", m.a.contiguous()});
            out_.tensors.push_back({at + ".lora_B.weight", m.b.contiguous()});
        } else {
            settings.magnitude_modules.push_back(site.path);
        }
        if (site.magnitude) out_.tensors.push_back({at + ".lora_magnitude_vector", m.magnitude});
        choice.sites.push_back(site);
    }

    const ForeignFile& file_;
    const ForeignOptions& options_;
    Json config_;
    std::map<std::string, Module> modules_;
    std::vector<NamedTensor> extra_;
    ImportedAdapter out_;
};

} // namespace

ImportedAdapter import_adapter(const ForeignFile& file, const ForeignOptions& options) {
    at::NoGradGuard no_grad;
    return Importer(file, options).run();
}

void export_as_lora(const std::string& folder, const ModelShapes& shapes, const std::string& to) {
    at::NoGradGuard no_grad;
    AdapterSettings settings = read_adapter_settings(folder);
    if (settings.method != "vera" && settings.method != "dvora")
        throw Error::config("--as lora: expected an adapter of vera or dvora, got ", settings.method,
                            ", which is in PEFT's form already");
    const std::string path = folder + "/" + kTensorFile;
    std::map<std::string, at::Tensor> stored;
    for (NamedTensor& t : read_tensors(path)) stored[t.name] = t.tensor;
    AdapterChoice choice = choose_sites(shapes, settings);
    int64_t max_in = 0, max_out = 0;
    for (const SiteChoice& site : choice.sites)
        max_in = std::max(max_in, site.in), max_out = std::max(max_out, site.out);
    auto take = [&](const std::string& name, at::IntArrayRef shape) {
        const auto at = stored.find(name);
        if (at == stored.end() || at->second.sizes() != shape)
            throw Error::data(path, ": expected ", name, " with ", shape,
                              at == stored.end() ? ", it is missing" : "");
        return at->second.to(at::kFloat);
    };
    Projections pair;
    if (stored.count("base_model.vera_A")) {
        pair.A = take("base_model.vera_A", {settings.rank, max_in});
        pair.B = take("base_model.vera_B", {max_out, settings.rank});
    } else {
        pair = draw_projections(settings.rank, max_in, max_out, settings.projection_prng_key);
    }
    std::vector<NamedTensor> out;
    for (SiteChoice& site : choice.sites) {
        const std::string at = kKeyPrefix + site.path;
        const at::Tensor d = take(at + ".vera_lambda_d", {settings.rank}),
                         b = take(at + ".vera_lambda_b", {site.out});
        out.push_back({at + ".lora_A.weight", (d.unsqueeze(1) * pair.A.narrow(1, 0, site.in)).contiguous()});
        out.push_back({at + ".lora_B.weight", (b.unsqueeze(1) * pair.B.narrow(0, 0, site.out)).contiguous()});
        if (site.magnitude)
            out.push_back({at + ".lora_magnitude_vector", take(at + ".lora_magnitude_vector", {site.out})});
        site.alpha = double(settings.rank);
    }
    for (const std::string& name : choice.trained) {
        const auto at = stored.find(name);
        if (at == stored.end()) throw Error::data(path, ": expected ", name, ", it is missing");
        out.push_back({name, at->second});
    }
    settings.method = settings.method == "vera" ? "lora" : "dora";
    settings.alpha = double(settings.rank), settings.has_alpha = true, settings.has_scaling = false;
    make_folder(to);
    write_tensors(to + "/" + kTensorFile, out);
    const Json config = Json::parse(read_file(folder + "/" + kConfigFile), nullptr, false);
    const Json base = config.is_object() ? config.value("base_model_name_or_path", Json()) : Json();
    write_file_atomic(to + "/" + kConfigFile,
                      adapter_config_text(settings, choice, shapes.backend,
                                          base.is_string() ? base.get<std::string>() : "", 1));
}

} // namespace dorabench
