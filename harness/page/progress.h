#pragma once
// How far the runs of a store are, from their files alone: nothing is written, no lock is taken for longer
// than a look.
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dorabench {

// {"stamp", "done", "runs": [{"id","name","method","rank","seed","status","working","step","steps","loss",
// "answers": {task: n}}]}: runs without a result, and how many have one. steps: null where the plan doesn't
// tell it. stamp changes when a run's result does.
nlohmann::json progress_of(const std::string& results);
std::string store_stamp(const std::string& results);

} // namespace dorabench
