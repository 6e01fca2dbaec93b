#pragma once
// Run folders in the store's own format, written by tests: what matters for comparisons and the gate can be
// set.
#include "harness/base/rng.h"
#include "harness/store/store.h"
#include "tests/support/paths.h"
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace dorabench::test {

struct SyntheticTask {
    std::vector<double> scores;
    std::vector<bool> parsed = {}; // shorter: parsed
    std::string prompt = "Question {} ?", fingerprint = "f1";
    double chance = 0.5;
};

struct SyntheticRun {
    std::string id, name = "tiny_suite", backbone = "tiny", method = "dora", status = "done";
    int64_t rank = 16, trainable = 1000, stored_bytes = 4096, peak_memory_bytes = 1 << 20;
    uint64_t seed = 1;
    double learning_rate = 2e-4, train_seconds = 10, validation_loss = -1; // below 0: not measured
    int64_t limit = 0;
    std::map<std::string, std::string> train = {}, evaluate = {}; // further settings
    std::string tokenizer = "t1";
    std::map<std::string, SyntheticTask> tasks;
};

inline std::vector<double> right_below(int n, int right) {
    std::vector<double> out(static_cast<size_t>(n), 0.0);
    std::fill(out.begin(), out.begin() + right, 1.0);
    return out;
}

inline std::vector<double> coin_scores(int n, double p, uint64_t seed, const std::string& stream) {
    Rng rng(seed, stream);
    std::vector<double> out;
    for (int i = 0; i < n; ++i) out.push_back(rng.uniform() < p ? 1 : 0);
    return out;
}

// Without the store's fsync: hundreds of replays are written.
inline void write_unsynced(const std::string& path, const nlohmann::json& json) {
    std::ofstream(path) << json.dump(2);
}

inline nlohmann::json write_samples(const RunFolder& folder, const std::string& name,
                                    const SyntheticTask& task) {
    make_folder(folder.file("samples"));
    std::ofstream samples(folder.file("samples/" + name + ".jsonl"));
    double sum = 0, n = static_cast<double>(task.scores.size());
    int64_t unparsed = 0;
    for (size_t i = 0; i < task.scores.size(); ++i) {
        bool parsed = i >= task.parsed.size() || task.parsed[i];
        std::string prompt = task.prompt;
        if (size_t at = prompt.find("{}"); at != std::string::npos) prompt.replace(at, 2, std::to_string(i));
        nlohmann::json line = {{"schema_version", 1}, {"id", std::to_string(i)},
                               {"prompt", prompt},    {"target", "true"},
                               {"prediction", ""},    {"raw_output", ""},
                               {"parsed", parsed},    {"score", task.scores[i]},
                               {"cut_tokens", 0},     {"prompt_tokens", prompt.size()}};
        if (task.scores[i] == 0 || task.scores[i] == 1) line["correct"] = task.scores[i] == 1;
        samples << line.dump() << "\n";
        sum += task.scores[i];
        unparsed += !parsed;
    }
    double value = sum / n;
    return {{"accuracy",
             {{"value", value}, {"stderr", std::sqrt(value * (1 - value) / n)}, {"ci95", nullptr}, {"n", n}}},
            {"primary", "accuracy"},
            {"n", task.scores.size()},
            {"unparsed", unparsed},
            {"chance", task.chance},
            {"below_chance", value < task.chance},
            {"fingerprint", task.fingerprint}};
}

inline void write_run(const std::string& results, const SyntheticRun& run) {
    RunFolder folder(results, run.id);
    nlohmann::json tasks = nlohmann::json::object();
    double average = 0;
    for (const auto& [name, task] : run.tasks) {
        tasks[name] = write_samples(folder, name, task);
        average += tasks[name]["accuracy"]["value"].get<double>() / static_cast<double>(run.tasks.size());
    }
    folder.write_json("metrics.json",
                      {{"schema_version", kSchemaVersion},
                       {"run", run.id},
                       {"name", run.name},
                       {"status", run.status},
                       {"backend", "llama"},
                       {"backbone", run.backbone},
                       {"method", run.method},
                       {"rank", run.rank},
                       {"seed", run.seed},
                       {"learning_rate", run.learning_rate},
                       {"trainable", run.trainable},
                       {"stored_bytes", run.stored_bytes},
                       {"train_seconds", run.train_seconds},
                       {"peak_memory_bytes", run.peak_memory_bytes},
                       {"train",
                        {{"validation_loss",
                          run.validation_loss < 0 ? nlohmann::json() : nlohmann::json(run.validation_loss)}}},
                       {"partial", run.limit > 0},
                       {"tasks", tasks},
                       {"average", run.tasks.empty() ? nlohmann::json() : nlohmann::json(average)}});
    write_unsynced(folder.file("provenance.json"), {{"tokenizer", run.tokenizer},
                                                    {"commit", "abc"},
                                                    {"device", "cpu"},
                                                    {"started", "2026-01-01T00:00:00Z"},
                                                    {"data", {{"train.json", "d1"}}}});
    std::ofstream config(folder.file("config.yaml"));
    config << "name: " << run.name << "\nseed: " << run.seed << "\nadapter: {method: " << run.method
           << ", rank: " << run.rank
           << "}\ntrain:\n  data: train.json\n  learning_rate: " << run.learning_rate << "\n";
    for (const auto& [key, value] : run.train) config << "  " << key << ": " << value << "\n";
    config << "evaluate:\n  num_beams: 4\n  limit: " << run.limit << "\n";
    for (const auto& [key, value] : run.evaluate) config << "  " << key << ": " << value << "\n";
}

} // namespace dorabench::test
