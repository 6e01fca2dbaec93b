#include "harness/cli/merge.h"
#include "adapters/adapter_set.h"
#include "backends/ops/nf4_file.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "harness/base/text.h"
#include "harness/cli/checkpoint_sites.h"
#include "harness/cli/model_requests.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// The merged copy, file by file as the base is sharded: a file is written as soon as its last merged weight
// is there. With --as nf4 the linear weights but the head's go out in bitsandbytes' form; what the base holds
// in NF4 and no adapter changes keeps its bytes.
class MergedWriter {
public:
    MergedWriter(CheckpointSites& base, const std::string& folder, const MergeOptions& options,
                 const MergeForm& form)
        : base_(base), folder_(folder), convert_(!options.dtype.empty()), double_quant_(form.double_quant) {
        if (convert_) dtype_ = parse_dtype(options.dtype);
        const Checkpoint& checkpoint = base.checkpoint();
        for (const auto& [name, place] : checkpoint.tensors())
            if (!belongs_to_nf4(name)) shards_[place.file->path()].names.push_back(name);
        const bool one = shards_.size() == 1;
        for (auto& [path, shard] : shards_) {
            shard.file = fs::path(path).filename().string();
            if (starts_with(shard.file, kDiffusers)) stem_ = kDiffusers;
        }
        if (one) shards_.begin()->second.file = stem_ + ".safetensors";
        if (form.as == "nf4")
            for (const ParameterShape& parameter : base.shapes().parameters)
                if (parameter.linear && !parameter.head && is_matrix(parameter.name))
                    quantised_.insert(parameter.name);
    }
    void expect(const std::string& name) { shard_of(name).waiting.insert(name); }
    void put(const std::string& name, const at::Tensor& merged) {
        Shard& shard = shard_of(name);
        at::Tensor value = merged.to(convert_ ? dtype_ : stored_type(name));
        if (!base_.packed().count(name)) value = value.view(base_.checkpoint().find(name)->entry.shape);
        shard.merged[name] = value;
        shard.waiting.erase(name);
        if (shard.waiting.empty()) write(shard);
    }
    void finish() { // files in which nothing was merged, and the index
        for (auto& [path, shard] : shards_)
            if (!shard.written) write(shard);
        if (shards_.size() == 1) return;
        const Json index = {{"metadata", {{"total_size", bytes_}}}, {"weight_map", places_}};
        write_file_atomic(folder_ + "/" + stem_ + ".safetensors.index.json", index.dump(2) + "\n");
    }
    int64_t merged() const { return merged_; }
    // Modules with a matrix that stays as it is, for config.json; empty: nothing was quantised.
    std::vector<std::string> skipped() const {
        if (quantised_.empty()) return {};
        std::set<std::string> modules = {"lm_head"};
        for (const auto& [name, place] : base_.checkpoint().tensors())
            if (ends_with(name, ".weight") && !quantised_.count(name) && place.entry.shape.size() == 2)
                modules.insert(name.substr(0, name.size() - 7));
        return {modules.begin(), modules.end()};
    }

private:
    static constexpr const char* kDiffusers = "diffusion_pytorch_model";
    struct Shard {
        std::string file;
        std::vector<std::string> names;
        std::set<std::string> waiting;
        std::map<std::string, at::Tensor> merged;
        bool written = false;
    };
    bool is_matrix(const std::string& name) const {
        const Checkpoint::Place* place = base_.checkpoint().find(name);
        return base_.packed().count(name) || (place && place->entry.shape.size() == 2);
    }
    Shard& shard_of(const std::string& name) {
        const Checkpoint::Place* place = base_.checkpoint().find(name);
        if (!place)
            throw Error::data("the checkpoint has no tensor \"", name, "\", which the adapter changes");
        return shards_.at(place->file->path());
    }
    at::ScalarType stored_type(const std::string& name) const {
        const auto packed = base_.packed().find(name);
        return packed != base_.packed().end() ? packed->second->dtype : tensor(name).scalar_type();
    }
    at::Tensor tensor(const std::string& name) const { // a packed weight as the model multiplies with it
        const auto packed = base_.packed().find(name);
        if (packed != base_.packed().end()) return nf4_dequantise(*packed->second, packed->second->dtype);
        const Checkpoint::Place* place = base_.checkpoint().find(name);
        return map_tensor(place->file, place->entry);
    }
    void write(Shard& shard) {
        std::vector<NamedTensor> tensors;
        for (const std::string& name : shard.names) {
            const auto at = shard.merged.find(name);
            const auto packed = base_.packed().find(name);
            if (at == shard.merged.end() && packed != base_.packed().end() && quantised_.count(name)) {
                for (const NamedTensor& part : nf4_tensors(name, *packed->second)) tensors.push_back(part);
                continue;
            }
            at::Tensor value = at != shard.merged.end() ? at->second : tensor(name);
            if (convert_ && value.is_floating_point()) value = value.to(dtype_);
            if (quantised_.count(name)) {
                const auto weight = nf4_quantise(value, double_quant_);
                for (const NamedTensor& part : nf4_tensors(name, *weight)) tensors.push_back(part);
            } else {
                tensors.push_back({name, value.contiguous()});
            }
            if (at != shard.merged.end()) shard.merged.erase(at), ++merged_;
        }
        for (const NamedTensor& t : tensors) {
            bytes_ += int64_t(t.tensor.numel()) * int64_t(t.tensor.element_size());
            places_[t.name] = shard.file;
        }
        write_tensors(folder_ + "/" + shard.file, tensors);
        shard.written = true;
    }

    CheckpointSites& base_;
    std::string folder_, stem_ = "model";
    bool convert_, double_quant_;
    at::ScalarType dtype_ = at::kFloat;
    std::map<std::string, Shard> shards_; // by the base's file
    std::set<std::string> quantised_;
    std::map<std::string, std::string> places_; // written tensor -> file
    int64_t bytes_ = 0, merged_ = 0;
};

bool is_companion(const fs::path& file) { // config, tokenizer, generation settings, licence; no weights
    const std::string name = file.filename().string(), extension = file.extension().string();
    if (ends_with(name, ".index.json") || starts_with(name, "adapter_")) return false;
    static const std::set<std::string> extensions = {".json", ".model", ".txt", ".jinja"};
    return extensions.count(extension) > 0 || starts_with(name, "LICENSE") || starts_with(name, "USE_POLICY");
}

// What transformers reads before it loads a prequantised checkpoint.
Json quantization_config(const std::vector<std::string>& skipped, bool double_quant,
                         const std::string& dtype) {
    return {{"quant_method", "bitsandbytes"},
            {"load_in_4bit", true},
            {"load_in_8bit", false},
            {"bnb_4bit_quant_type", "nf4"},
            {"bnb_4bit_use_double_quant", double_quant},
            {"bnb_4bit_compute_dtype", dtype},
            {"bnb_4bit_quant_storage", "uint8"},
            {"llm_int8_enable_fp32_cpu_offload", false},
            {"llm_int8_has_fp16_weight", false},
            {"llm_int8_skip_modules", skipped},
            {"llm_int8_threshold", 6.0}};
}

void copy_companions(const std::string& from, const std::string& to, const MergeOptions& options,
                     const MergeForm& form, const std::vector<std::string>& skipped) {
    for (const auto& entry : fs::directory_iterator(from)) {
        if (!entry.is_regular_file() || !is_companion(entry.path())) continue;
        std::string text = read_file(entry.path().string());
        if (entry.path().filename() == "config.json") {
            Json config = Json::parse(text, nullptr, false);
            if (!config.is_object()) throw Error::data(entry.path().string(), ": expected a JSON object");
            bool changed = config.erase("quantization_config") > 0; // what is written is dense
            if (!options.dtype.empty()) {
                changed = true;
                if (config.contains("dtype"))
                    config["dtype"] = options.dtype; // transformers 5 writes dtype, earlier ones torch_dtype
                if (config.contains("torch_dtype") || !config.contains("dtype"))
                    config["torch_dtype"] = options.dtype;
            }
            if (!skipped.empty()) {
                changed = true;
                const Json named =
                    config.contains("dtype") ? config["dtype"] : config.value("torch_dtype", Json());
                config["quantization_config"] = quantization_config(
                    skipped, form.double_quant, named.is_string() ? named.get<std::string>() : "float32");
            }
            if (changed) text = config.dump(2) + "\n";
        }
        write_file_atomic(to + "/" + entry.path().filename().string(), text);
    }
}

struct Probe {
    double delta = 0, largest = 0;
    bool made = false;
};

at::Tensor probe_of(const ModelOptions& options, const Globals& globals) {
    const LoadedModel model = load_model(options, globals);
    Ids ids;
    const int64_t vocabulary = model.backend->shapes().vocab;
    for (int64_t i = 0; i < 32; ++i) ids.push_back(vocabulary > 0 ? i % vocabulary : i);
    return model.backend->probe_logits(ids).to(at::kFloat);
}

// Unmerged against merged on ids 0 … 31, one model in memory at a time.
Probe compare_logits(const MergeOptions& options, const std::string& base, const Globals& globals) {
    Probe probe;
    if (known_family(base, globals.registries->backends).empty()) return probe;
    ModelOptions model;
    model.checkpoint = base;
    model.adapter = options.adapter;
    model.quantization = options.quantization;
    model.device = "cpu";
    if (!options.dtype.empty()) model.dtype = options.dtype;
    const at::Tensor unmerged = probe_of(model, globals);
    model.checkpoint = options.to;
    model.adapter.clear();
    model.quantization = "none";
    probe.delta = (unmerged - probe_of(model, globals)).abs().max().item<double>();
    probe.largest = unmerged.abs().max().item<double>();
    probe.made = true;
    return probe;
}

void check_target(const std::string& to) {
    if (exists(to) && !is_folder(to)) throw Error::config("--to ", to, ": expected a folder, it is a file");
    if (is_folder(to) && !fs::is_empty(to))
        throw Error::config("--to ", to,
                            ": expected a new or empty folder, it holds files; nothing was written");
}

// Writes one model's copy into `to`; gives the number of merged tensors.
int64_t write_merged(const std::string& base, const std::string& to, const MergeOptions& options,
                     const MergeForm& form, const Globals& globals) {
    CheckpointSites sites(base, globals.registries->backends, options.quantization == "nf4");
    MergedWriter writer(sites, to, options, form);
    std::unique_ptr<AdapterSet> adapter;
    std::vector<TrainableTensor> trained;
    std::vector<std::string> names;
    if (!options.adapter.empty()) {
        adapter = attach_adapter(sites, read_adapter_settings(options.adapter), 0);
        adapter->load(options.adapter);
        for (LinearSite* site : sites.sites())
            if (site->layer()) names.push_back(site->path() + ".weight");
        trained = adapter->trainable();
        std::erase_if(trained, [](const TrainableTensor& part) { return part.group != "weight"; });
    }
    for (const std::string& name : names) writer.expect(name);
    for (const TrainableTensor& part : trained) writer.expect(part.name);
    Progress progress("merge", int64_t(names.size()));
    int64_t done = 0;
    if (!names.empty())
        adapter->for_each_merged([&](const std::string& name, const at::Tensor& merged) {
            writer.put(name, merged);
            progress.update(++done);
        });
    for (const TrainableTensor& part : trained) writer.put(part.name, part.tensor.detach());
    writer.finish();
    if (adapter)
        for (const std::string& line : adapter->dead_rows()) log::warning(line);
    copy_companions(base, to, options, form, writer.skipped());
    return writer.merged();
}

bool is_adapter(const std::string& folder) { return exists(folder + "/adapter_config.json"); }

// A pipeline of Diffusers: each model that the adapter's folder has a folder for is merged, the rest copied.
int64_t write_pipeline(const std::string& base, const std::string& to, const MergeOptions& options,
                       const MergeForm& form, const Globals& globals) {
    std::vector<std::string> models;
    for (const auto& entry : fs::directory_iterator(options.adapter))
        if (entry.is_directory() && is_adapter(entry.path().string()))
            models.push_back(entry.path().filename().string());
    if (models.empty())
        throw Error::data(
            options.adapter, ": expected a folder with an adapter for each model of the pipeline ", base,
            " (unet, text_encoder, …), as import writes it, found none",
            is_adapter(options.adapter) ? "; of one model: give that model's folder as --checkpoint" : "");
    int64_t merged = 0;
    for (const auto& entry : fs::directory_iterator(base)) {
        const std::string name = entry.path().filename().string();
        if (std::find(models.begin(), models.end(), name) == models.end())
            fs::copy(entry.path(), to + "/" + name, fs::copy_options::recursive);
    }
    for (const std::string& model : models) {
        if (!is_folder(base + "/" + model))
            throw Error::data(options.adapter, "/", model, ": the pipeline ", base, " has no folder ", model);
        MergeOptions part = options;
        part.adapter = options.adapter + "/" + model;
        make_folder(to + "/" + model);
        merged += write_merged(base + "/" + model, to + "/" + model, part, form, globals);
    }
    return merged;
}

} // namespace

int merge_as(const MergeOptions& options, const MergeForm& form, const Globals& globals) {
    const std::string base = resolve_checkpoint(options.checkpoint);
    if (!is_folder(base)) throw Error::config("--checkpoint ", base, ": expected a checkpoint folder");
    const bool pipeline = exists(base + "/model_index.json");
    if (options.adapter.empty() && (form.as != "nf4" || pipeline))
        throw Error::config("merge: expected --adapter DIR; only --as nf4 of a model goes without one");
    check_target(options.to);
    // Written beside the target and renamed at the end, so that a folder under the target's name is always
    // whole.
    const std::string partial = (fs::path(options.to) / "").parent_path().string() + ".partial";
    fs::remove_all(partial);
    make_folder(partial);
    int64_t merged = 0;
    try {
        merged = (pipeline ? write_pipeline : write_merged)(base, partial, options, form, globals);
        std::error_code error;
        fs::rename(partial, options.to, error);
        if (error) throw Error::resources(options.to, " cannot be written: ", error.message());
    } catch (const fs::filesystem_error& error) {
        std::error_code ignored;
        fs::remove_all(partial, ignored);
        throw Error::resources(options.to, " cannot be written: ", error.what());
    } catch (...) {
        std::error_code ignored;
        fs::remove_all(partial, ignored);
        throw;
    }
    const Probe probe = compare_logits(options, base, globals);
    if (globals.format == "json") {
        Json out = {{"to", options.to}, {"as", form.as}, {"merged_tensors", merged}};
        out["dtype"] = options.dtype.empty() ? Json() : Json(options.dtype);
        out["max_delta_logit"] = probe.made && std::isfinite(probe.delta) ? Json(probe.delta) : Json();
        out["max_logit"] = probe.made && std::isfinite(probe.largest) ? Json(probe.largest) : Json();
        std::cout << out.dump(2) << "\n";
        return 0;
    }
    std::cout << "merged " << merged << " tensors into " << options.to
              << (form.as == "nf4" ? ", linear weights in NF4" : "") << "\n";
    if (probe.made)
        std::cout << "largest change of a logit on a probe of 32 tokens, before to after: " << probe.delta
                  << " (largest logit " << probe.largest << ")\n";
    return 0;
}

int merge_command(const MergeOptions& options, const Globals& globals) {
    return merge_as(options, {}, globals);
}

} // namespace dorabench
