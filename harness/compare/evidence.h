#pragma once
// What the gate compares: the evidence of one run on one task, as it stands in a baseline file. Scores stand
// in the order of the items' ids, as one character an item where all are 0 or 1, so that a baseline of 22,000
// items takes 22 kB.
#include "harness/compare/samples.h"
#include <nlohmann/json.hpp>

namespace dorabench {

// {"run","seed","value","stderr","n","unparsed","scores","parsed","fingerprint","prompt_hash","data_hash","items",
//  "token_ids","tokenizer","train_data","template","evaluate"}; null for what the run does not tell.
nlohmann::json evidence_of(const RunRecord& run, const std::string& task);
// The fields in which two pieces of evidence were not asked or scored alike; empty: comparable. A field that
// either side does not tell counts as equal.
std::vector<std::string> differing_fields(const nlohmann::json& before, const nlohmann::json& now);
// Error::data(place, …) unless it is as evidence_of makes it.
void require_evidence(const nlohmann::json& evidence, const std::string& place);
// The scores, or the parsed flags as 0/1; empty where the evidence holds none.
std::vector<double> scores_of(const nlohmann::json& evidence);
std::vector<double> parsed_of(const nlohmann::json& evidence);

} // namespace dorabench
