#pragma once
// Tables that only the page shows: letters by task, the accounting of parameters, provenance.
#include "harness/compare/compare.h"
#include "harness/report/comparison.h"

namespace dorabench {

Table letters_as_table(const Comparison& comparison); // no rows where there is nothing to tell apart
// Trainable, total and stored size beside the published share, labelled, with what would reproduce it where
// it differs.
Table accounting_as_table(const Comparison& comparison, const std::vector<RunRecord>& records,
                          const std::vector<PublishedRow>& published);
Table provenance_as_table(const std::vector<RunRecord>& records); // a run a row; what differs between them
Table shared_settings_as_table(const std::vector<RunRecord>& records); // what all runs have in common
std::vector<ParetoPoint> pareto_of(const Comparison& comparison, const std::vector<RunRecord>& records);

} // namespace dorabench
