#include "harness/cli/provenance.h"
#include "backends/io/safetensors.h"
#include "backends/io/tokenizer.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/store/store.h"
#include <ATen/Parallel.h>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <torch/version.h>

namespace dorabench {
namespace {

using nlohmann::json;

// A checkpoint of up to 2 GiB is hashed whole; of a larger one the headers are, which name every tensor,
// shape and offset: reading 16 GB for each run would cost more than many evaluations.
json checkpoint_json(const std::string& checkpoint) {
    std::string folder = resolve_checkpoint(checkpoint);
    Checkpoint opened = Checkpoint::open(folder);
    json files = json::object();
    for (const std::string& name : opened.files()) {
        std::string path = is_folder(folder) ? folder + "/" + name : folder;
        if (!exists(path)) path = name;
        auto size = static_cast<int64_t>(std::filesystem::file_size(path));
        bool whole = size <= (int64_t(2) << 30);
        files[std::filesystem::path(name).filename().string()] = {
            {"bytes", size},
            {whole ? "sha256" : "sha256_of_names_and_shapes", whole ? sha256_file(path) : ""}};
    }
    std::string described;
    for (const auto& [name, place] : opened.tensors()) {
        described += name + dtype_name(place.entry.dtype);
        for (int64_t side : place.entry.shape) described += cat(' ', side);
        described += '\n';
    }
    for (auto& [name, file] : files.items())
        if (file.contains("sha256_of_names_and_shapes"))
            file["sha256_of_names_and_shapes"] = sha256_hex(described);
    return files;
}

} // namespace

std::string utc_now() {
    std::time_t now = std::time(nullptr);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
    return text;
}

std::string libtorch_version() { return TORCH_VERSION; }

json provenance_json(const RunSettings& settings, const Backend* backend, const TaskCatalog& catalog) {
    json out = {{"schema_version", kSchemaVersion},
                {"started", utc_now()},
                {"version", version()},
                {"commit", commit()},
                {"libtorch", libtorch_version()},
                {"host", host_description()},
                {"device", settings.backend.device == "auto" ? "cpu" : settings.backend.device},
                {"threads", at::get_num_threads()},
                {"data", json::object()},
                {"checkpoint", json()}};
    for (const std::string& plugin : settings.plugins) out["plugins"][plugin] = sha256_file(plugin);
    if (!settings.backend.checkpoint.empty())
        out["checkpoint"] = checkpoint_json(settings.backend.checkpoint);
    if (backend && backend->tokenizer()) out["tokenizer"] = backend->tokenizer()->fingerprint();
    for (const DataSource& source : settings.train.data)
        if (exists(source.name) && !is_folder(source.name))
            out["data"][source.name] = sha256_file(source.name);
    return out;
}

} // namespace dorabench
