#include "harness/cli/execute.h"
#include "backends/io/safetensors.h"
#include "backends/io/tokenizer.h"
#include "backends/ops/device.h"
#include "harness/base/env.h"
#include "harness/base/log.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include "harness/cli/names.h"
#include "harness/cli/provenance.h"
#include "harness/eval/evaluate.h"
#include "harness/train/checks.h"
#include "harness/train/device_memory.h"
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace dorabench {
namespace {

using nlohmann::json;

std::atomic<int> stops{0};
std::atomic<int> last_signal{0};

void on_signal(int signal) {
    last_signal = signal;
    if (++stops > 1) _exit(128 + signal);
}

struct LoadedTask {
    std::string name;
    std::unique_ptr<Task> task;
};

// Reads the evaluation sets before any weight, so that a missing file ends the run at once.
std::vector<LoadedTask> open_tasks(const RunSettings& settings, const TaskCatalog& catalog) {
    std::vector<LoadedTask> tasks;
    for (const std::string& name : settings.evaluate.tasks) {
        TaskOptions options;
        options.data_dir = settings.data_dir;
        options.template_name = settings.evaluate.template_name;
        options.mode = settings.evaluate.mode;
        options.num_fewshot = settings.evaluate.num_fewshot;
        options.chat_template = settings.evaluate.chat_template;
        options.limit = settings.evaluate.limit;
        options.num_beams = settings.evaluate.num_beams;
        options.max_new_tokens = settings.evaluate.max_new_tokens;
        options.seed = settings.seed;
        auto task = catalog.make(name, options);
        log::info(task->name(), ": ", task->examples().size(), " examples");
        tasks.push_back({name, std::move(task)});
    }
    return tasks;
}

// One source's pairs, encoded; the validation rows are drawn from the first source by the run's seed.
void add_source(const RunSettings& settings, const TaskCatalog& catalog, const Backend& backend,
                size_t source, TrainingData& data) {
    const TrainSettings& train = settings.train;
    TaskOptions options;
    options.data_dir = settings.data_dir;
    options.template_name = train.template_name;
    options.seed = settings.seed;
    std::vector<TrainingPair> pairs = catalog.training_pairs(train.data[source].name, options);
    if (pairs.empty()) throw Error::data(train.data[source].name, ": holds no training example");
    std::vector<size_t> order(pairs.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    size_t held_out = source == 0 ? static_cast<size_t>(train.validation) : 0;
    if (held_out > 0) {
        if (held_out >= pairs.size())
            throw Error::config("train.validation: must be smaller than the ", pairs.size(), " examples of ",
                                train.data[source].name, ", got ", held_out);
        Rng(settings.seed, "validation").shuffle(order);
        std::sort(order.begin(), order.begin() + held_out);
        std::sort(order.begin() + held_out, order.end());
    }
    EncodeOptions encode{train.max_length, train.train_on_inputs};
    for (size_t at = 0; at < order.size(); ++at) {
        EncodedExample example = backend.encode(pairs[order[at]], encode);
        example.index = static_cast<int64_t>(order[at]);
        if (at < held_out) {
            data.validation.push_back(std::move(example));
        } else {
            data.train.push_back(std::move(example));
            data.source_of.push_back(static_cast<int>(source));
        }
    }
}

TrainingData read_training_data(const RunSettings& settings, const TaskCatalog& catalog,
                                const Backend& backend) {
    TrainingData data;
    for (size_t source = 0; source < settings.train.data.size(); ++source) {
        add_source(settings, catalog, backend, source, data);
        int64_t own = settings.train.data[source].batch_size;
        data.batch_size_of.push_back(own > 0 ? own : settings.train.batch_size);
    }
    if (settings.train.data.size() == 1) data.source_of.clear();
    return data;
}

json train_json(const TrainOutcome& outcome) {
    json out = {{"steps", outcome.steps},
                {"tokens", outcome.tokens},
                {"seconds", outcome.seconds},
                {"final_loss", std::isfinite(outcome.final_loss) ? json(outcome.final_loss) : json()},
                {"validation_loss", outcome.has_validation ? json(outcome.best_validation_loss) : json()},
                {"dropped_rows", outcome.dropped_rows},
                {"cut_rows", outcome.cut_rows},
                {"peak_bytes", outcome.peak_bytes}};
    for (const auto& [group, state] : outcome.liveness)
        out["liveness"][group] = {{"max_grad_norm", state.max_grad_norm}, {"moved", state.moved}};
    return out;
}

void require(const CheckResult& check, std::vector<CheckResult>& checks) {
    checks.push_back(check);
    if (check.status == "failed") throw Error::check(check.name, ": ", check.message);
    log::info("check ", check.name, ": ", check.status,
              check.message.empty() ? "" : " (" + check.message + ")");
}

std::vector<CheckResult> checks_from(const json& all) {
    std::vector<CheckResult> out;
    for (const auto& [name, check] : all.items())
        out.push_back(
            {name, check.value("status", ""),
             check.contains("value") && check["value"].is_number() ? check["value"].get<double>() : 0.0,
             check.value("message", "")});
    return out;
}

Ids probe_ids(const ModelShapes& shapes) {
    int64_t vocab = std::max<int64_t>(shapes.vocab, 8);
    Ids ids;
    for (int64_t i = 0; i < 24; ++i) ids.push_back((3 + 37 * i) % vocab);
    return ids;
}

struct Trained {
    json train; // train.json's content
    std::vector<CheckResult> checks;
};

// Trains (or finds it done in an earlier attempt: the adapter then is loaded), saves the adapter, makes the
// checks.
Trained train_part(const PlannedRun& run, RunFolder& folder, const TaskCatalog& catalog, Backend& backend,
                   AdapterSet& adapter, const Together& together) {
    const RunSettings& settings = run.settings;
    std::string adapter_folder = folder.file("adapter");
    Trained out;
    Ids probe = probe_ids(run.shapes);
    if (auto done = folder.read_json("train.json"); done && done->contains("checks")) {
        log::info("training stands from an earlier attempt; loading its adapter");
        adapter.load(adapter_folder);
        out.train = *done;
        out.checks = checks_from((*done)["checks"]);
        return out;
    }
    require(check_identity(backend, adapter, probe), out.checks);
    for (const std::string& line : adapter.dead_rows())
        log::warning("rows of norm 0 (their magnitude has no effect): ", line);
    TrainingData data = read_training_data(settings, catalog, backend);
    if (together.peers) {
        together.announce();
        together.peers->agree(nullptr, "preparing the run");
    }
    TrainOutcome outcome = train(backend, adapter, settings.train, data, settings.seed, folder.path(),
                                 stop_requests(), together.peers, settings.backend.checkpoint);
    out.train = train_json(outcome);
    require(check_liveness(outcome), out.checks);
    adapter.save(adapter_folder, settings.backend.checkpoint);
    require(check_keys(adapter, adapter_folder), out.checks);
    require(check_reload(backend, adapter, probe, adapter_folder), out.checks);
    require(check_merge(backend, adapter, probe), out.checks);
    out.train["checks"] = checks_json(out.checks);
    folder.write_json("train.json", out.train);
    std::error_code ignored;
    std::filesystem::remove_all(folder.file("checkpoint"), ignored); // train.json and adapter/ take its place
    return out;
}

std::string backbone_name(const RunSettings& settings) {
    if (!settings.backend.shape.empty()) return settings.backend.shape;
    std::filesystem::path path = std::filesystem::path(settings.backend.checkpoint).lexically_normal();
    return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

json base_metrics(const PlannedRun& run) {
    const RunSettings& settings = run.settings;
    int64_t total = run.count.base + run.count.added;
    return {{"schema_version", kSchemaVersion},
            {"run", run.id},
            {"name", settings.name},
            {"status", "running"},
            {"backend", settings.backend.type},
            {"backbone", backbone_name(settings)},
            {"method", settings.adapter.method},
            {"rank", settings.adapter.method == "ft" || settings.adapter.method == "none"
                         ? json()
                         : json(settings.adapter.rank)},
            {"seed", settings.seed},
            {"learning_rate", settings.train.data.empty() ? json() : json(settings.train.learning_rate)},
            {"trainable", run.count.trainable},
            {"total", total},
            {"percent_of_total",
             total > 0 ? json(100.0 * static_cast<double>(run.count.trainable) / static_cast<double>(total))
                       : json()},
            {"stored_bytes", run.count.stored_bytes},
            {"train_seconds", nullptr},
            {"peak_memory_bytes", nullptr},
            {"partial", settings.evaluate.limit > 0},
            {"tasks", json::object()},
            {"average", nullptr},
            {"checks", json::object()}};
}

int64_t folder_bytes(const std::string& path) {
    int64_t bytes = 0;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(path, ignored))
        if (entry.is_regular_file(ignored)) bytes += static_cast<int64_t>(entry.file_size(ignored));
    return bytes;
}

void evaluate_part(const RunSettings& settings, RunFolder& folder, Backend& backend,
                   std::vector<LoadedTask>& tasks, json& metrics) {
    make_folder(folder.file("samples"));
    double sum = 0;
    int64_t scored = 0;
    auto start = std::chrono::steady_clock::now();
    for (LoadedTask& loaded : tasks) {
        std::string file_name = replace_all(
            std::filesystem::path(loaded.name).stem() == loaded.name ? loaded.name : loaded.task->name(), "/",
            ".");
        TaskResult result = evaluate_task(backend, *loaded.task, settings.evaluate.batch_size,
                                          folder.file("samples/" + file_name + ".jsonl"), stop_requests());
        metrics["tasks"][loaded.name] = task_result_json(result);
        metrics["tasks"][loaded.name]["fingerprint"] = loaded.task->fingerprint();
        const Measurement& primary = result.metrics.at(result.primary);
        if (primary.missing) continue; // a test split whose answers are hidden
        sum += primary.value;
        ++scored;
    }
    metrics["evaluate_seconds"] =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (scored > 0) metrics["average"] = sum / static_cast<double>(scored);
}

json selection_json(const Selection& selection) {
    json out = {{"over", selection.over},
                {"by", selection.by},
                {"winner", selection.winner},
                {"test_touches", 0},
                {"candidates", json::array()}};
    for (const Selection::Candidate& candidate : selection.candidates) {
        out["candidates"].push_back({{"value", candidate.value},
                                     {"validation_loss", candidate.validation_loss},
                                     {"runs", candidate.runs}});
        out["test_touches"] = out["test_touches"].get<int>() + (candidate.tested ? 1 : 0);
    }
    return out;
}

// Each process of a machine has a GPU of its own.
BackendSettings own_device(BackendSettings settings, const Peers* peers) {
    if (!peers || settings.device == "cpu" || settings.device.find(':') != std::string::npos) return settings;
    if (settings.device == "cuda" || (load_cuda().empty() && cuda_device_count() > 0))
        settings.device = cat("cuda:", peers->local_rank());
    return settings;
}

// Whatever ends a run, the next one gets a clean backbone.
struct CleanBackbone {
    CleanBackbone(const RunSettings& settings, Backend& backend, BackendCache& cache)
        : backend(backend), cache(cache),
          changed(settings.adapter.method == "ft" || settings.adapter.init == "pissa" ||
                  !settings.adapter.train_also.empty()) {}
    ~CleanBackbone() {
        if (changed) {
            cache.drop();
            return;
        }
        for (LinearSite* site : backend.sites()) site->detach();
    }
    Backend& backend;
    BackendCache& cache;
    bool changed;
};

// evaluate: false for a candidate of a selection, which is trained alone.
void execute(const PlannedRun& run, RunFolder& folder, const TaskCatalog& catalog, BackendCache& backends,
             json& metrics, bool evaluate, const Together& together) {
    const RunSettings& settings = run.settings;
    reset_peak_resident();
    std::vector<LoadedTask> tasks = open_tasks(settings, catalog);
    const BackendSettings own = own_device(with_tokenizer(settings, catalog), together.peers);
    if (!settings.train.data.empty()) require_memory(run, available_memory_bytes(resolve_device(own.device)));
    Backend& backend = backends.get(own, settings.seed);
    const std::string& method = settings.adapter.method;
    CleanBackbone clean(settings, backend, backends);
    std::unique_ptr<AdapterSet> adapter;
    if (method != "none") adapter = attach_adapter(backend, settings.adapter, settings.seed);
    folder.write_json("provenance.json",
                      provenance_json(settings, tasks.size() ? &backend : nullptr, catalog));
    if (!settings.train.data.empty()) {
        if (!adapter)
            throw Error::config("adapter.method: training needs a method, got none; leave the train section "
                                "out to evaluate the base");
        backend.set_gradient_checkpointing(settings.train.gradient_checkpointing);
        Trained trained = train_part(run, folder, catalog, backend, *adapter, together);
        metrics["train"] = trained.train;
        metrics["train"].erase("checks");
        metrics["train_seconds"] = trained.train["seconds"];
        metrics["checks"] = checks_json(trained.checks);
        metrics["stored_bytes"] = folder_bytes(folder.file("adapter"));
    } else if (adapter && settings.adapter.init == "kaiming") {
        log::warning("no train section: the ", method, " adapter is evaluated as initialised");
    }
    if (adapter) {
        adapter->set_training(false);
    }
    backend.set_training(false);
    if (evaluate) evaluate_part(settings, folder, backend, tasks, metrics);
    metrics["peak_memory_bytes"] =
        std::max(peak_resident_bytes(),
                 metrics.contains("train") ? metrics["train"].value("peak_bytes", int64_t(0)) : 0);
}

} // namespace

const std::atomic<int>& stop_requests() { return stops; }
int stop_signal() { return last_signal; }

void watch_stop_signals() {
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

Backend& BackendCache::get(const BackendSettings& settings, uint64_t seed) {
    // random weights depend on the seed, a checkpoint's do not
    std::string key =
        cat(settings.type, '\n', settings.checkpoint, '\n', settings.shape, '\n', settings.tokenizer, '\n',
            settings.vision_tower, '\n', settings.dtype, '\n', settings.device, '\n', settings.quantization,
            settings.double_quant, '\n', settings.attention, '\n', settings.image_processing, '\n',
            settings.shape.empty() ? 0 : seed);
    for (const auto& [name, value] : settings.options) key += cat('\n', name, '=', value);
    if (!backend_ || key != key_) {
        backend_.reset();
        backend_ = registries_.backends.get(settings.type).load(settings, seed);
        key_ = key;
    }
    return *backend_;
}

RunSettings read_run_settings(const std::string& run_folder, const Registries& registries) {
    ConfigFile config = ConfigFile::load(run_folder + "/config.yaml", {});
    // a run folder may be another's: its plug-ins load only where the user names them too
    for (const std::string& path : config.plugins())
        if (std::none_of(registries.plugins.begin(), registries.plugins.end(),
                         [&](const LoadedPlugin& loaded) {
                             return std::filesystem::path(loaded.path).filename() ==
                                    std::filesystem::path(path).filename();
                         }))
            throw Error::config(run_folder, ": this run used the plug-in ", path,
                                "; name it with --plugin to load it");
    std::vector<Diagnostic> errors;
    RunSettings settings = config.parse({}, known_names(registries), errors);
    if (!errors.empty()) throw Error::data(ConfigErrors(errors).what());
    return settings;
}

BackendSettings with_tokenizer(const RunSettings& settings, const TaskCatalog& catalog, bool write) {
    BackendSettings backend = settings.backend;
    if (!backend.tokenizer.empty() && !exists(backend.tokenizer) && catalog.has(backend.tokenizer)) {
        std::string folder = settings.results + "/tokenizers/" + replace_all(backend.tokenizer, "/", ".");
        if (write) catalog.write_tokenizer(backend.tokenizer, folder);
        backend.tokenizer = folder;
    }
    return backend;
}

namespace {

// The run between its lock and its record; status: what a finished one is called.
RunState execute_locked(const PlannedRun& run, RunFolder& folder, const TaskCatalog& catalog,
                        BackendCache& backends, const std::string& status, const Selection* selection,
                        const Together& together) {
    log::set_file(folder.file("log.txt"));
    json metrics = base_metrics(run);
    if (selection) {
        metrics["selected_by"] = selection_json(*selection);
    } else if (auto earlier = folder.read_json("metrics.json"); // a peek (--allow-peek) is counted
               earlier && earlier->is_object() && earlier->contains("selected_by")) {
        metrics["selected_by"] = (*earlier)["selected_by"];
        json& touches = metrics["selected_by"]["test_touches"];
        if (status == "done" && earlier->value("status", "") == "not selected" && touches.is_number_integer())
            touches = touches.get<int64_t>() + 1;
    }
    auto record = [&](const std::string& status, const std::string& error,
                      ErrorKind kind = ErrorKind::failed) {
        metrics["status"] = status;
        if (!error.empty()) metrics["error"] = error;
        if (status == "failed") metrics["exit_code"] = exit_code(kind);
        folder.write_json("metrics.json", metrics);
        log::set_file("");
    };
    try {
        write_file_atomic(folder.file("config.yaml"), settings_yaml(run.settings));
        folder.write_json("metrics.json", metrics);
        log::info("run ", run.id, ": ", run.settings.adapter.method, " on ", backbone_name(run.settings),
                  ", seed ", run.settings.seed);
        execute(run, folder, catalog, backends, metrics, status == "done", together);
        record(status, "");
        return RunState::done;
    } catch (const Error& error) {
        log::error(error.what());
        record(error.kind() == ErrorKind::interrupted ? "interrupted" : "failed", error.what(), error.kind());
        throw;
    } catch (const std::bad_alloc&) {
        record("failed", "out of memory", ErrorKind::resources);
        throw Error::resources(
            "run ", run.id,
            ": out of memory; a smaller micro_batch_size or gradient_checkpointing: true needs less");
    } catch (const std::exception& error) {
        std::string message = error.what();
        message = message.substr(0, message.find("\nException raised from"));
        log::error(message);
        record("failed", message);
        throw Error::failed("run ", run.id, ": ", message);
    }
}

} // namespace

RunState execute_run(const PlannedRun& run, RunFolder& folder, const TaskCatalog& catalog,
                     BackendCache& backends, const Selection* selection, const Together& together) {
    if (folder.finished()) return RunState::skipped_done;
    if (!folder.try_lock()) return RunState::busy_elsewhere;
    if (folder.finished()) return RunState::skipped_done;
    return execute_locked(run, folder, catalog, backends, "done", selection, together);
}

void assist_run(const PlannedRun& run, const TaskCatalog& catalog, BackendCache& backends, Peers& peers) {
    const RunSettings& settings = run.settings;
    std::exception_ptr failure;
    Backend* backend = nullptr;
    std::unique_ptr<AdapterSet> adapter;
    TrainingData data;
    try {
        backend = &backends.get(own_device(with_tokenizer(settings, catalog, false), &peers), settings.seed);
        adapter = attach_adapter(*backend, settings.adapter, settings.seed);
        data = read_training_data(settings, catalog, *backend);
    } catch (...) {
        failure = std::current_exception();
    }
    peers.agree(failure, "preparing the run");
    CleanBackbone clean(settings, *backend, backends);
    backend->set_gradient_checkpointing(settings.train.gradient_checkpointing);
    train(*backend, *adapter, settings.train, data, settings.seed, settings.results + "/runs/" + run.id,
          stop_requests(), &peers);
}

RunState train_candidate(const PlannedRun& run, RunFolder& folder, const TaskCatalog& catalog,
                         BackendCache& backends, const Together& together) {
    auto trained = [&] { // metrics.json too: a crash may have come between it and train.json
        std::optional<json> metrics = folder.read_json("metrics.json");
        std::string status = metrics && metrics->is_object() ? metrics->value("status", "") : "";
        return candidate_loss(folder) &&
               (status == "trained" || status == "not selected" || status == "done");
    };
    if (trained()) return RunState::skipped_done;
    if (!folder.try_lock()) return RunState::busy_elsewhere;
    if (trained()) return RunState::skipped_done;
    return execute_locked(run, folder, catalog, backends, "trained", nullptr, together);
}

std::optional<double> candidate_loss(const RunFolder& folder) {
    std::optional<json> train = folder.read_json("train.json");
    if (!train || !train->is_object() || !train->contains("checks")) return std::nullopt;
    auto loss = train->find("validation_loss");
    return loss != train->end() && loss->is_number() ? std::optional(loss->get<double>()) : std::nullopt;
}

void record_selection(RunFolder& folder, const Selection& selection) {
    if (!folder.try_lock()) return;
    const std::optional<json> metrics = folder.read_json("metrics.json");
    if (!metrics || !metrics->is_object()) return;
    json chosen = *metrics;
    if (chosen.value("status", "") != "done") chosen["status"] = "not selected";
    const json said = selection_json(selection), before = chosen.value("selected_by", json::object());
    chosen["selected_by"] = said;
    if (before.is_object() && before.value("test_touches", 0) > said["test_touches"].get<int>())
        chosen["selected_by"]["test_touches"] = before["test_touches"]; // peeks stay counted
    if (chosen != *metrics) folder.write_json("metrics.json", chosen);
}

} // namespace dorabench
