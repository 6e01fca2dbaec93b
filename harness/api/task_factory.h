#pragma once
// What a plug-in registers for a task that a spec file cannot describe (tasks/README.md: most can). No torch.
#include "harness/api/task.h"

namespace dorabench {

struct TaskFactory {
    std::string name, alias; // "arithmetic/parity"; the alias may be empty
    std::string kind, help;  // as `list tasks` shows them
    // Evaluation; empty: a training set alone.
    std::function<std::unique_ptr<Task>(const TaskOptions&)> make;
    // Training pairs; empty: nothing to train on.
    std::function<std::vector<TrainingPair>(const TaskOptions&)> training_pairs;
    std::string origin = "built in";
};

} // namespace dorabench
