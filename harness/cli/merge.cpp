#include "backends/ops/nf4_file.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "harness/base/text.h"
#include "harness/cli/checkpoint_sites.h"
#include "harness/cli/commands.h"
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
// is there.
class MergedWriter {
public:
    MergedWriter(CheckpointSites& base, const std::string& folder, const std::string& dtype)
        : base_(base), folder_(folder), convert_(!dtype.empty()) {
        if (convert_) dtype_ = parse_dtype(dtype);
        const Checkpoint& checkpoint = base.checkpoint();
        for (const auto& [name, place] : checkpoint.tensors())
            if (!belongs_to_nf4(name)) shards_[place.file->path()].names.push_back(name);
        const bool one = shards_.size() == 1;
        for (auto& [path, shard] : shards_)
            shard.file = one ? "model.safetensors" : fs::path(path).filename().string();
    }
    void expect(const std::string& name) { shard_of(name).waiting.insert(name); }
    void put(const std::string& name, const at::Tensor& merged) {
        Shard& shard = shard_of(name);
        shard.merged[name] = merged.to(convert_ ? dtype_ : stored_type(name));
        shard.waiting.erase(name);
        if (shard.waiting.empty()) write(shard);
    }
    void finish() { // files in which nothing was merged, and the index
        Json map = Json::object();
        for (auto& [path, shard] : shards_)
            if (!shard.written) write(shard);
        for (const auto& [name, place] : base_.checkpoint().tensors())
            if (!belongs_to_nf4(name)) map[name] = shards_.at(place.file->path()).file;
        if (shards_.size() == 1) return;
        const Json index = {{"metadata", {{"total_size", bytes_}}}, {"weight_map", map}};
        write_file_atomic(folder_ + "/model.safetensors.index.json", index.dump(2) + "\n");
    }
    int64_t merged() const { return merged_; }

private:
    struct Shard {
        std::string file;
        std::vector<std::string> names;
        std::set<std::string> waiting;
        std::map<std::string, at::Tensor> merged;
        bool written = false;
    };
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
            at::Tensor value = at != shard.merged.end() ? at->second : tensor(name);
            if (convert_ && value.is_floating_point()) value = value.to(dtype_);
            bytes_ += int64_t(value.numel()) * int64_t(value.element_size());
            tensors.push_back({name, value.contiguous()});
        }
        write_tensors(folder_ + "/" + shard.file, tensors);
        merged_ += int64_t(shard.merged.size());
        shard.merged.clear();
        shard.written = true;
    }

    CheckpointSites& base_;
    std::string folder_;
    bool convert_;
    at::ScalarType dtype_ = at::kFloat;
    std::map<std::string, Shard> shards_; // by the base's file
    int64_t bytes_ = 0, merged_ = 0;
};

bool is_companion(const fs::path& file) { // config, tokenizer, generation settings, licence; no weights
    const std::string name = file.filename().string(), extension = file.extension().string();
    if (ends_with(name, ".index.json") || starts_with(name, "adapter_")) return false;
    static const std::set<std::string> extensions = {".json", ".model", ".txt", ".jinja"};
    return extensions.count(extension) > 0 || starts_with(name, "LICENSE") || starts_with(name, "USE_POLICY");
}

void copy_companions(const std::string& from, const std::string& to, const std::string& dtype) {
    for (const auto& entry : fs::directory_iterator(from)) {
        if (!entry.is_regular_file() || !is_companion(entry.path())) continue;
        std::string text = read_file(entry.path().string());
        if (entry.path().filename() == "config.json") {
            Json config = Json::parse(text, nullptr, false);
            if (!config.is_object()) throw Error::data(entry.path().string(), ": expected a JSON object");
            const bool packed = config.erase("quantization_config") > 0; // what is written is dense
            if (packed) text = config.dump(2) + "\n";
            if (dtype.empty()) {
                write_file_atomic(to + "/config.json", text);
                continue;
            }
            if (config.contains("dtype"))
                config["dtype"] = dtype; // transformers 5 writes dtype, earlier ones torch_dtype
            if (config.contains("torch_dtype") || !config.contains("dtype")) config["torch_dtype"] = dtype;
            text = config.dump(2) + "\n";
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

// Writes the whole copy into `to`; gives the number of merged tensors.
int64_t write_merged(const std::string& base, const std::string& to, const MergeOptions& options,
                     const Globals& globals) {
    CheckpointSites sites(base, globals.registries->backends, options.quantization == "nf4");
    const auto adapter = attach_adapter(sites, read_adapter_settings(options.adapter), 0);
    adapter->load(options.adapter);
    MergedWriter writer(sites, to, options.dtype);
    std::vector<std::string> names;
    for (LinearSite* site : sites.sites())
        if (site->layer()) names.push_back(site->path() + ".weight");
    std::vector<TrainableTensor> trained = adapter->trainable();
    std::erase_if(trained, [](const TrainableTensor& part) { return part.group != "weight"; });
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
    for (const std::string& line : adapter->dead_rows()) log::warning(line);
    return writer.merged();
}

} // namespace

int merge_command(const MergeOptions& options, const Globals& globals) {
    const std::string base = resolve_checkpoint(options.checkpoint);
    if (!is_folder(base)) throw Error::config("--checkpoint ", base, ": expected a checkpoint folder");
    check_target(options.to);
    // Written beside the target and renamed at the end, so that a folder under the target's name is always
    // whole.
    const std::string partial = (fs::path(options.to) / "").parent_path().string() + ".partial";
    fs::remove_all(partial);
    make_folder(partial);
    int64_t merged = 0;
    try {
        merged = write_merged(base, partial, options, globals);
        copy_companions(base, partial, options.dtype);
        std::error_code error;
        fs::rename(partial, options.to, error);
        if (error) throw Error::resources(options.to, " cannot be written: ", error.message());
    } catch (...) {
        std::error_code ignored;
        fs::remove_all(partial, ignored);
        throw;
    }
    const Probe probe = compare_logits(options, base, globals);
    if (globals.format == "json") {
        Json out = {{"to", options.to}, {"merged_tensors", merged}};
        out["dtype"] = options.dtype.empty() ? Json() : Json(options.dtype);
        out["max_delta_logit"] = probe.made && std::isfinite(probe.delta) ? Json(probe.delta) : Json();
        out["max_logit"] = probe.made && std::isfinite(probe.largest) ? Json(probe.largest) : Json();
        std::cout << out.dump(2) << "\n";
        return 0;
    }
    std::cout << "merged " << merged << " tensors into " << options.to << "\n";
    if (probe.made)
        std::cout << "largest change of a logit on a probe of 32 tokens, unmerged to merged: " << probe.delta
                  << " (largest logit " << probe.largest << ")\n";
    return 0;
}

} // namespace dorabench
