#pragma once
// The CI gate: runs of a store against a committed baseline. Three verdicts a cell: pass, regressed (a drop
// that the items show: one-sided, McNemar on shared items, else both standard errors; Holm over all cells, 5
// %), incomparable (the prompt, data, template, decoding or scoring is another; the fields are named).
#include "harness/store/store.h"
#include <nlohmann/json.hpp>

namespace dorabench {

struct GateCell {
    std::string run, label, task;          // label: "llama-7b dora r16 seed 42"
    std::string verdict;                   // pass | regressed | incomparable | missing
    std::vector<std::string> differing;    // incomparable: the fields
    double baseline = 0, value = 0, p = 1; // p: adjusted
    std::string message;
};

// Error::config for a run that is not done or partial.
nlohmann::json make_baseline(const std::vector<RunRecord>& runs);
// only_given: entries of the baseline without a run among `runs` are left out instead of "missing".
std::vector<GateCell> check_against(const nlohmann::json& baseline, const std::vector<RunRecord>& runs,
                                    bool only_given);
int gate_exit_code(
    const std::vector<GateCell>& cells); // 0, 3 regressed, 4 incomparable, 5 missing; the gravest first
std::string gate_junit(const std::vector<GateCell>& cells);
nlohmann::json gate_json(const std::vector<GateCell>& cells);

} // namespace dorabench
