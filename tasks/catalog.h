#pragma once
// The tasks and prompt templates there are: YAML specs under tasks/specs (found beside the program) over C++
// readers, plus spec files that the user names.
#include "harness/api/task_factory.h"
#include <memory>

namespace dorabench {

struct TaskInfo {
    std::string name, alias, kind, help, origin;
}; // "llm_adapters/boolq", "boolq", …

class TaskCatalog {
public:
    explicit TaskCatalog(
        const std::string& specs_folder); // share_folder() + "/specs"; Error::config for a broken spec
    // A plug-in's task, found by its name like the others. Error{plugin} when the name is taken; the same
    // factory (name and origin) again changes nothing.
    void add(const TaskFactory& factory);
    std::vector<TaskInfo> tasks() const;
    std::vector<std::string> names() const; // long names and aliases, for "did you mean"
    std::vector<std::string> template_names() const;
    bool has(const std::string& name) const; // a known name, or a path to a user's spec (.yaml)
    std::unique_ptr<Task> make(const std::string& name, const TaskOptions& options) const;
    // Training pairs of a task's training split, or of a .json/.jsonl file (instruction/input/output,
    // prompt/completion, messages, input_ids/labels); gzip too. Error::data with file and record for what
    // cannot be read.
    std::vector<TrainingPair> training_pairs(const std::string& task_or_file,
                                             const TaskOptions& options) const;
    // tokenizer.json and tokenizer_config.json of a synthetic task's world into the folder (created).
    // Error::config for a task of another kind.
    void write_tokenizer(const std::string& task, const std::string& folder) const;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

} // namespace dorabench
