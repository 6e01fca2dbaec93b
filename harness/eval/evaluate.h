#pragma once
// The one evaluator: a task's examples become requests, a backend answers them, the task scores the answers.
// Every sample is on disk as soon as it is finished; a repeated call asks only for what is missing, and the
// finished file is in the order of the examples, so that an interrupted evaluation ends with the same bytes
// as one that was not.
#include "harness/api/backend.h"
#include "harness/api/task.h"
#include <atomic>
#include <string>

namespace dorabench {

// samples_path: samples/<task>.jsonl. stop: Ctrl-C; throws Error{interrupted} with what is finished kept.
// Samples of an earlier call are used again where id and prompt agree.
TaskResult evaluate_task(Backend& backend, Task& task, int64_t batch_size, const std::string& samples_path,
                         const std::atomic<int>& stop);

} // namespace dorabench
