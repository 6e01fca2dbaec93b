#pragma once
// Results on disk. Files are the truth, one folder a run under <results>/runs/<id>/; <results>/results.sqlite
// is an index over them that can be rebuilt at any time and that several processes share (WAL). Everything
// carries schema_version.
#include "harness/api/task.h"
#include "harness/base/files.h"
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>

namespace dorabench {

inline constexpr int kSchemaVersion = 1;

// One run's folder. Every file is written atomically, or appended line by line (steps, samples).
class RunFolder {
public:
    RunFolder(const std::string& results, const std::string& run_id); // creates it
    const std::string& path() const { return path_; }
    const std::string& id() const { return id_; }
    std::string file(const std::string& name) const { return path_ + "/" + name; }
    // Exclusive lock held by the process that works on this run; nullopt-like false when another process has
    // it.
    bool try_lock();
    void write_json(const std::string& name, const nlohmann::json& json) const;
    std::optional<nlohmann::json>
    read_json(const std::string& name) const; // nullopt when absent or damaged (logged)
    bool finished() const;                    // metrics.json with status "done"
private:
    std::string path_, id_;
    std::shared_ptr<int> lock_;
};

struct RunRecord { // what tables are made of: metrics.json with config and provenance
    std::string id, path, name, backend, backbone, method, status, error, commit, device, started;
    int64_t rank = 0, trainable = 0, total = 0, stored_bytes = 0, peak_memory_bytes = 0;
    uint64_t seed = 0;
    std::map<std::string, std::string> settings; // config.yaml, flattened: "train.learning_rate" → "0.0002"
    std::string group; // hash of the settings without the seed: equal for runs that differ in it alone
    double train_seconds = 0, learning_rate = 0, percent_of_total = 0;
    bool partial = false;
    std::map<std::string, TaskResult> tasks; // by short or long name, as evaluated
    double average = 0;
    bool has_average = false;
    std::optional<double> validation_loss; // the best on the held-out examples
    std::string
        chosen_by; // "train.learning_rate=0.0005, chosen of 3 by validation.loss"; empty: no choice was made
};

class ResultStore {
public:
    // Creates the folders; opens or creates the index. A damaged index is moved aside
    // (results.sqlite.damaged-N) and built anew from the folders. Error::resources when the folder cannot be
    // written.
    explicit ResultStore(const std::string& results);
    ~ResultStore();
    void index(const std::string& run_id); // (re)reads a run folder into the index
    void rebuild();                        // from the folders
    std::vector<RunRecord> runs() const;   // read from the folders, oldest first
    std::optional<RunRecord>
    find(const std::string& id_or_prefix) const; // Error::config when a prefix is ambiguous
    const std::string& path() const { return path_; }

private:
    std::string path_;
    struct Index;
    std::unique_ptr<Index> index_;
};

// Never throws for what the folder holds: a metrics.json that cannot be read gives status "damaged", none at
// all gives "incomplete"; values of a wrong type count as missing. A run that lost a selection has status
// "not selected", and test scores that it may have (from before the choice) are withheld: a best score among
// candidates is optimistic. peek: they are shown all the same (--allow-peek).
RunRecord read_run(const std::string& folder, bool peek = false);
// Takes the test scores off a record whose candidate lost; chosen: the value that won,
// "train.learning_rate=0.0005".
void withhold(RunRecord& record, const std::string& chosen, const std::string& by);
// All runs of a results folder, oldest first, without opening (or creating) the index: works on a read-only
// store.
std::vector<RunRecord> read_runs(const std::string& results, bool peek = false);
// The run with this id, prefix of an id, or name; Error::config when several fit (their ids are listed).
std::optional<RunRecord> find_run(const std::string& results, const std::string& id_or_prefix,
                                  bool peek = false);
// The "tasks" entries of metrics.json:
// {"accuracy":{"value","stderr","ci95":[lo,hi],"n"},"primary","n","unparsed","chance", "below_chance"}.
// unparsed counts samples. Missing and non-finite values are null.
nlohmann::json task_result_json(const TaskResult& result);
TaskResult task_result_from_json(const nlohmann::json& json);

} // namespace dorabench
