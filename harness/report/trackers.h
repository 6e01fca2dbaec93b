#pragma once
// What other projects' viewers read, made from a run's folder whenever it is asked for: also of a run that
// goes on.
#include "harness/store/store.h"

namespace dorabench {

// <to>/<name>-<method>-r<rank>-s<seed>-<id>/events.out.tfevents.…: loss, learning rate, gradient norm and
// tokens per second of every step, validation losses, and the tasks' metrics at the last step. Returns the
// file.
std::string export_tensorboard(const RunRecord& run, const std::string& to);
// lm-evaluation-harness's --output_path: <to>/<model>/results_<date>.json and samples_<task>_<date>.jsonl,
// with its names
// ("acc,none" for accuracy, doc_id, target, filtered_resps, …). Error::data for a run that is not evaluated.
// Returns the results file.
std::string export_lm_eval(const RunRecord& run, const std::string& to);

} // namespace dorabench
