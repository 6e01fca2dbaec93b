#pragma once
// Training data against test sets: how many test items occur in the training text whole, and how many share a run of 13
// words with it (the n of Brown et al. 2020, GPT-3, appendix C). Words are lower-case ASCII letters and digits; everything
// else separates.
#include "harness/api/task.h"
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

namespace dorabench {

struct Contamination {
    int64_t items = 0;
    int64_t exact = 0;   // a training row has the very words of the prompt
    int64_t ngram13 = 0; // shares 13 words in a row with a training row
    std::vector<std::string> first; // ids of the first few that overlap
};

class ContaminationScan {
public:
    void add_training(const TrainingPair& pair); // its prompt and target
    Contamination scan(const std::vector<Example>& examples) const;

private:
    std::unordered_set<uint64_t> ngrams_, rows_;
};

} // namespace dorabench
