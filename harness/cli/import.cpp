// import: another project's adapter as a HF PEFT folder. The format is told by the keys; see
// adapters/foreign.h.
#include "adapters/adapter_set.h"
#include "adapters/diffusers.h"
#include "adapters/foreign.h"
#include "adapters/peft_config.h"
#include "backends/io/torch_pickle.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/cli/checkpoint_sites.h"
#include "harness/cli/commands.h"
#include <cstring>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::vector<NamedTensor> tensors_of(const std::string& path) {
    const std::string extension = fs::path(path).extension().string();
    if (extension == ".safetensors") return read_tensors(path);
    if (extension != ".bin" && extension != ".pt" && extension != ".pth" && extension != ".ckpt")
        throw Error::config(path, ": expected a .safetensors, .bin, .pt, .pth or .ckpt file");
    std::vector<NamedTensor> all;
    for (const PickledTensor& t : read_torch_file(path)) {
        at::Tensor tensor = at::empty(t.shape, scalar_type(t.dtype));
        std::memcpy(tensor.mutable_data_ptr(), t.bytes.data(), t.bytes.size());
        all.push_back({t.name, tensor});
    }
    return all;
}

// The weights' file of a folder, under the names that the projects give it.
std::string weights_in(const std::string& folder) {
    for (const char* name :
         {"adapter_model.safetensors", "adapters.safetensors", "model_state_dict.safetensors",
          "pytorch_lora_weights.safetensors", "adapter_model.bin", "adapter_model.pt", "adapter_0.pt"})
        if (exists(folder + "/" + name)) return folder + "/" + name;
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder)) {
        const std::string extension = entry.path().extension().string();
        if (extension == ".safetensors" || extension == ".bin" || extension == ".pt" || extension == ".pth")
            found.push_back(entry.path().string());
    }
    if (found.size() == 1) return found[0];
    throw Error::data(folder,
                      ": expected one adapter file (adapter_model.safetensors, adapters.safetensors, "
                      "adapter_model.bin), found ",
                      found.size(), "; name the file itself");
}

ForeignFile read_source(const std::string& source) {
    if (!exists(source)) throw Error::data(source, ": no such file or folder");
    ForeignFile file;
    file.path = is_folder(source) ? weights_in(source) : source;
    file.tensors = tensors_of(file.path);
    if (fs::path(file.path).extension() == ".safetensors")
        file.metadata = SafetensorsFile::open(file.path)->metadata();
    const std::string config = (fs::path(file.path).parent_path() / "adapter_config.json").string();
    if (exists(config)) file.config = read_file(config, size_t(16) << 20);
    return file;
}

int64_t integer_in(const Json& config, const char* key, int64_t otherwise) {
    const auto at = config.find(key);
    return at != config.end() && at->is_number_integer() ? at->get<int64_t>() : otherwise;
}

void read_base(const std::string& checkpoint, CheckpointSites& sites, ForeignOptions& options) {
    for (const LinearSite* site : sites.sites()) options.base_paths.push_back(site->path());
    options.convolutions = sites.convolutions();
    const std::string path = checkpoint + "/config.json";
    if (!exists(path)) return;
    const Json config = Json::parse(read_file(path, size_t(16) << 20), nullptr, false);
    if (!config.is_object()) throw Error::data(path, ": expected a JSON object");
    options.heads = integer_in(config, "num_attention_heads", 0);
    options.kv_heads = integer_in(config, "num_key_value_heads", options.heads);
}

// One adapter as a PEFT folder; with the base every key and shape is checked both ways.
ImportedAdapter write_adapter(const ForeignFile& file, const std::string& base, const std::string& to,
                              const ImportOptions& options, const Globals& globals, std::string& method) {
    ForeignOptions how;
    how.alpha = options.alpha;
    how.dora_axis = options.dora_axis;
    std::unique_ptr<CheckpointSites> sites;
    if (!base.empty()) {
        sites = std::make_unique<CheckpointSites>(base, globals.registries->backends);
        how.base_name = options.checkpoint;
        read_base(base, *sites, how);
    }
    ImportedAdapter adapter = import_adapter(file, how);
    make_folder(to);
    write_tensors(to + "/" + kTensorFile, adapter.tensors);
    write_file_atomic(to + "/" + kConfigFile, adapter.config);
    const AdapterSettings settings = read_adapter_settings(to); // refuses what changes the mathematics
    method = settings.method;
    if (sites) attach_adapter(*sites, settings, 0)->load(to);
    return adapter;
}

} // namespace

int import_command(const ImportOptions& options, const Globals& globals) {
    if (exists(options.to) && (!is_folder(options.to) || !fs::is_empty(options.to)))
        throw Error::config("--to ", options.to, ": expected a new or empty folder; nothing was written");
    const std::string base = options.checkpoint.empty() ? "" : resolve_checkpoint(options.checkpoint);
    const ForeignFile file = read_source(options.source);
    std::map<std::string, ForeignFile> parts = diffusers_parts(file);
    if (parts.empty()) parts[""] = file;
    // Written beside the target and renamed at the end, so that a folder under the target's name is always
    // whole.
    const std::string partial = (fs::path(options.to) / "").parent_path().string() + ".partial";
    fs::remove_all(partial);
    make_folder(partial);
    std::string method, format;
    Json models = Json::array();
    size_t tensors = 0;
    int64_t left_out = 0;
    try {
        for (const auto& [model, part] : parts) { // of a pipeline: a folder for each model
            std::string from = base;
            if (!base.empty() && !model.empty() && is_folder(base + "/" + model)) from = base + "/" + model;
            if (!base.empty() && parts.size() > 1 && from == base)
                throw Error::config("--checkpoint ", base,
                                    ": expected the pipeline's folder with the folder ", model,
                                    " in it, for the file adapts ", parts.size(), " models");
            const ImportedAdapter adapter = write_adapter(
                part, from, model.empty() ? partial : partial + "/" + model, options, globals, method);
            format = adapter.format;
            tensors += adapter.tensors.size();
            left_out += adapter.left_out;
            if (!model.empty()) models.push_back(model);
        }
        std::error_code error;
        fs::remove(options.to, error);
        fs::rename(partial, options.to, error);
        if (error) throw Error::resources(options.to, " cannot be written: ", error.message());
    } catch (...) {
        std::error_code ignored;
        fs::remove_all(partial, ignored);
        throw;
    }
    if (globals.format == "json") {
        Json said = {{"from", options.source}, {"to", options.to},   {"format", format},
                     {"method", method},       {"tensors", tensors}, {"left_out", left_out}};
        if (!models.empty()) said["models"] = models;
        std::cout << said.dump(2) << "\n";
        return 0;
    }
    std::cout << format << " adapter (" << method << ", " << tensors << " tensors) in " << options.to << "\n";
    if (left_out > 0)
        std::cout << left_out << " tensors of the file are no part of an adapter and were left out\n";
    return 0;
}

} // namespace dorabench
