#pragma once
// VQA accuracy (Antol et al. 2015): the mean, over every human answer left out once, of min(1, matches among
// the others / 3).
#include "tasks/metrics/metric.h"
#include <string>
#include <vector>

namespace dorabench {

enum class VqaRule {
    official, // everything is normalised, but only where the humans' answers differ (vqaEval.py)
    m4c,      // TextVQA, VizWiz, LLaVA: always, with the M4C normaliser
    vlt5, // VL-T5, VL-BART: the prediction always; the humans' answers, where they differ, by the punctuation
          // step alone
};

// Humans' answers are told apart by their index (the official script's slip on files without answer ids is
// not repeated).
double vqa_score(const std::string& prediction, const std::vector<std::string>& answers, VqaRule rule);

// references: {"annotations": [{"question_id", "answers": [{"answer"} or text, …], "question_type"?,
// "answer_type"?}, …]} (or the array itself); predictions: [{"question_id", "answer"}, …]. Files without
// question ids pair by "image" (VizWiz).
MetricValues vqa_metric(const std::string& references, const std::string& predictions, VqaRule rule);

} // namespace dorabench
