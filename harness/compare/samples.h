#pragma once
// What a run answered, item by item: samples/<task>.jsonl as scores by id, with hashes of what was asked. Two
// runs are the same experiment on other weights only where these hashes agree.
#include "harness/store/store.h"
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace dorabench {

struct ItemScore {
    double score = 0; // in [0, 1]
    bool parsed = true;
    std::string prompt; // 16 hex digits of the prompt's sha256; empty where the line has none
};

struct SampleSet {
    std::map<std::string, ItemScore> items; // by id
    // sha256 over the items in the order of their ids: of the ids; of ids and prompts; of ids and right
    // answers; of ids and lengths of the prompts in tokens (empty where not recorded)
    std::string ids_hash, prompt_hash, target_hash, lengths_hash;
    int64_t damaged = 0; // lines that could not be read and are left out

    bool binary() const;
    int64_t unparsed() const;
    double mean() const; // 0 without items
};

// nullopt where the run has no such file. Never throws for what the file holds; a line whose `correct` and
// `score` contradict each other counts as wrong.
std::optional<SampleSet> read_samples(const std::string& run_folder, const std::string& task);

// Where the run's answers to a task lie; "" where it has none.
std::string samples_file(const std::string& run_folder, const std::string& task);
// A JSON object of the run's folder ("metrics.json"); empty where it is absent or damaged.
nlohmann::json run_json(const RunRecord& run, const std::string& file);
// "dora r16", "ft"
std::string method_label(const RunRecord& run);
// A setting as stored in config.yaml, or "".
std::string setting(const RunRecord& run, const std::string& key);

} // namespace dorabench
