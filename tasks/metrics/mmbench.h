#pragma once
// MMBench (Liu et al. 2023): which option does a free answer name?
#include "tasks/metrics/metric.h"
#include <map>
#include <string>
#include <vector>

namespace dorabench {

struct MmbenchAnswer {
    int64_t index = 0; // of the row: rotation * 1,000,000 + question
    bool right = false;
    std::string category, group; // of the first rotation
};
// circular and vanilla, and circular by category; Error::data (where: a file's name) for a question whose
// first rotation is missing.
MetricValues mmbench_values(const std::vector<MmbenchAnswer>& answers, const std::string& where);
// Error::data for what is no row's index; place: "file, row 3".
int64_t mmbench_index(const std::string& text, const std::string& place);

// options: letter -> text. The option's letter by VLMEvalKit's rules (a letter among the last words, "answer
// is X", the text of exactly one option), or "" where they find none: that counts as wrong.
std::string mmbench_option(const std::string& answer, const std::map<std::string, std::string>& options);

} // namespace dorabench
