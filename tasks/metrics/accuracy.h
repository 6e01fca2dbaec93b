#pragma once
// Accuracy of answers that are right or wrong, with what a table must show beside it: how many could not be
// read, and how well the readable ones do.
#include "harness/api/task.h"
#include <string>
#include <vector>

namespace dorabench {

struct Accuracy {
    Measurement all;    // unparsed answers count as wrong (LLM-Adapters); Wilson's interval
    Measurement parsed; // among the answers that could be read; missing when there is none
    int64_t unparsed = 0;
};
Accuracy accuracy(const std::vector<Score>& scores);

// Mean of one of the samples' further values ("acc_norm"); missing when no sample has it.
Measurement mean_of_value(const std::vector<Score>& scores, const std::string& name);

} // namespace dorabench
