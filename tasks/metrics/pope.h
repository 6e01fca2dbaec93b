#pragma once
// POPE (Li et al. 2023): does a free answer say yes or no?
#include "tasks/metrics/metric.h"
#include <map>
#include <string>
#include <vector>

namespace dorabench {

struct PopeItem {
    bool yes = false, says_yes = false; // the label and the answer
};
// accuracy, precision, recall, f1 and yes_ratio. Of several splits: each as "<split>.<value>", and unnamed
// the means over the splits, as LLaVA reports F1.
MetricValues pope_values(const std::map<std::string, std::vector<PopeItem>>& splits);

// The original's reading: of the text before the first dot, without commas, cut at single spaces, "no" if any
// word is exactly No, not or no; else yes.
bool pope_says_yes(const std::string& answer);

} // namespace dorabench
