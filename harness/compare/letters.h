#pragma once
// All pairs of a comparison's rows, shown as letters (Piepho 2004, insert and absorb): rows that share a
// letter are not shown to differ. A pair is tested on the items that both answered: 0/1 scores of one seed by
// McNemar's exact test, else by Student's t over the items' differences (an item averaged over the seeds that
// both have); the average over tasks by a normal test with the tasks taken as independent. Holm over all
// pairs of a column, 5 %. "a" holds the best row.
#include "harness/report/comparison.h"
#include <utility>

namespace dorabench {

// make_comparisons() with the letters of every row filled in from the runs' samples, and the fairness
// warnings of compare.h over all rows.
std::vector<Comparison> lettered_comparisons(const std::vector<RunRecord>& records);

// means: of the groups, larger is better; differ: pairs of groups that are shown to differ. One text of
// letters a group; empty texts where the display would need more than 52 letters.
std::vector<std::string> letter_display(const std::vector<double>& means,
                                        const std::vector<std::pair<size_t, size_t>>& differ);

} // namespace dorabench
