#pragma once
// --select KEY of compare and report: of runs that differ in one setting (and the seed) alone, the value with
// the lowest loss on the held-out examples stands for its method, and the test scores of the others are
// withheld. The test set has no say in it, also where all of them were scored.
#include "harness/store/store.h"

namespace dorabench {

// key: a setting ("train.learning_rate") or the end of one ("learning_rate"). Sets chosen_by of the winners
// and withholds the others. Error::config where no run has the setting, or a candidate has no validation loss
// (train.validation 0), so that nothing but the test set could tell which is best.
void select_by_validation(std::vector<RunRecord>& runs, const std::string& key);

} // namespace dorabench
