// export: what a run trained, for any other tool. An adapter leaves as its HF PEFT folder; full fine-tuning
// as a HF checkpoint (config.json, model.safetensors, tokenizer).
#include "adapters/adapter_set.h"
#include "adapters/foreign.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/cli/execute.h"
#include "harness/cli/names.h"
#include "harness/report/trackers.h"
#include "harness/store/store.h"
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;

void copy_files(const std::string& from, const std::string& to, const std::vector<std::string>& names) {
    for (const std::string& name : names)
        if (exists(from + "/" + name))
            fs::copy_file(from + "/" + name, to + "/" + name, fs::copy_options::overwrite_existing);
}

void export_checkpoint(const RunRecord& record, const std::string& to, const Globals& globals) {
    RunSettings run = read_run_settings(record.path, *globals.registries);
    BackendSettings settings = with_tokenizer(run, task_catalog());
    auto backend = globals.registries->backends.get(settings.type).load(settings, run.seed);
    attach_adapter(*backend, run.adapter, run.seed)->load(record.path + "/adapter");
    std::vector<NamedTensor> tensors;
    for (const NamedTensor& parameter : backend->parameters())
        tensors.push_back({parameter.name, parameter.tensor.detach()});
    write_tensors(to + "/model.safetensors", tensors);
    write_file_atomic(to + "/config.json", backend->config_json());
    std::string tokenizer = settings.tokenizer.empty() ? settings.checkpoint : settings.tokenizer;
    copy_files(tokenizer, to,
               {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
                "vocab.json", "merges.txt", "added_tokens.json"});
    copy_files(settings.checkpoint, to, {"generation_config.json"});
}

} // namespace

namespace {

// For other projects' viewers: beside what is there already, a run again in its own place.
int export_records(const ExportOptions& options, const Globals& globals) {
    std::vector<RunRecord> runs;
    if (options.run == "all") {
        runs = read_runs(options.results);
    } else if (std::optional<RunRecord> found = find_run(options.results, options.run)) {
        runs.push_back(*found);
    }
    if (runs.empty())
        throw Error::config("no run in ", options.results, " is called \"", options.run,
                            "\"; see dora-bench list runs");
    nlohmann::json files = nlohmann::json::array();
    for (const RunRecord& run : runs) {
        const bool tensorboard = options.as == "tensorboard";
        if (options.run == "all" && !tensorboard && run.tasks.empty()) continue; // not evaluated yet
        files.push_back(tensorboard ? export_tensorboard(run, options.to) : export_lm_eval(run, options.to));
        if (globals.format != "json") std::cout << files.back().get<std::string>() << "\n";
    }
    if (globals.format == "json") std::cout << files.dump() << "\n";
    return 0;
}

} // namespace

int export_command(const ExportOptions& options, const Globals& globals) {
    if (options.as == "tensorboard" || options.as == "lm-eval") return export_records(options, globals);
    std::optional<RunRecord> found = find_run(options.results, options.run); // id, its beginning, or a name
    if (!found)
        throw Error::config("no run in ", options.results, " is called \"", options.run,
                            "\"; see dora-bench list runs");
    const RunRecord& record = *found;
    if (record.status != "done")
        throw Error::data("run ", record.id, " is not finished (", record.status, "): nothing to export");
    if (fs::exists(options.to) && !fs::is_empty(options.to))
        throw Error::config("--to: ", options.to, " is not empty; name a new folder");
    if (!exists(record.path + "/adapter/adapter_config.json"))
        throw Error::data("run ", record.id, " trained nothing: there is no ", record.path, "/adapter");
    // written beside and moved into place, so that a half-written folder is never taken for a whole one
    std::string partial = fs::path(options.to).lexically_normal().string();
    while (partial.size() > 1 && partial.back() == '/') partial.pop_back();
    partial += ".tmp";
    fs::remove_all(partial);
    make_folder(partial);
    if (options.as == "lora") {
        RunSettings run = read_run_settings(record.path, *globals.registries);
        export_as_lora(record.path + "/adapter",
                       globals.registries->backends.get(run.backend.type).shapes(run.backend), partial);
    } else if (record.method == "ft")
        export_checkpoint(record, partial, globals);
    else
        copy_files(record.path + "/adapter", partial, {"adapter_config.json", "adapter_model.safetensors"});
    fs::remove(options.to);
    fs::rename(partial, options.to);
    if (globals.format == "json")
        std::cout << nlohmann::json{{"run", record.id},
                                    {"to", options.to},
                                    {"kind", record.method == "ft" ? "checkpoint" : "adapter"}}
                         .dump()
                  << "\n";
    else
        std::cout << (record.method == "ft" ? "checkpoint" : "adapter") << " of run " << record.id << " in "
                  << options.to << "\n";
    return 0;
}

} // namespace dorabench
