#pragma once
// The CI gate: runs of a store against a committed baseline file. A cell is one task of one method at one
// rank on one backbone (seeds inside). Verdicts of a cell:
//   pass           nothing shows a loss
//   regressed      the items show a drop, or more unparsed answers (one-sided paired tests, Holm over all
//   cells, 5 %),
//                  that is larger than the measured noise floor; or the number of trainable parameters
//                  changed
//   incomparable   prompt, data, template, token ids or scoring are others: the fields are named
//   missing        in the baseline and not in the store; counts as regressed
//   new            in the store and not in the baseline; counts as nothing
// Test of a drop: one seed and 0/1 scores: McNemar, exact and one-sided; else sign flips of the items'
// differences, averaged over the seeds (Fisher's permutation test). Where `calibrate` has measured the spread
// of repeated runs, the drop must also be larger than that spread explains (Student's t): p is the larger of
// the two.
#include "harness/store/store.h"
#include <nlohmann/json.hpp>

namespace dorabench {

struct GateCell {
    std::string label, task; // "quickstart tiny dora r16"
    std::vector<std::string> runs;
    std::string verdict;
    std::vector<std::string> differing; // incomparable: "prompt_hash", "evaluate.num_beams", …
    double baseline = 0, value = 0;     // means over the seeds, fractions
    double p = 1;                       // of the drop, adjusted
    double unparsed_p = 1;              // of more unparsed answers, adjusted
    int64_t unparsed_before = 0, unparsed_now = 0, trainable_before = 0, trainable_now = 0;
    double noise_floor = 0; // drop that repeated runs exceed in 5 % of cases; 0: not measured
    double resolvable = 0;  // drop that these items show at 80 % power, at the corrected level
    std::string message;
    bool judged() const { return verdict == "pass" || verdict == "regressed"; }
};

struct GateReport {
    std::vector<GateCell> cells;
    std::vector<std::string> notes; // "baseline of commit …; this is …"
    double alpha = 0.05;
    std::string verdict() const; // pass | regressed | incomparable, the gravest of the cells
    int exit_code() const;       // 0, 3, 4
};

// Cells of runs that are done; `earlier` (a baseline or null) keeps the noise floors of cells with the same
// key. Error::config for a partial run, for two runs of one cell and seed that nothing tells apart, and
// without any run. provenance: what else stands in the file ("version", "created", …).
nlohmann::json make_baseline(const std::vector<RunRecord>& runs, const nlohmann::json& earlier,
                             const nlohmann::json& provenance);
// Error::data names what is damaged.
nlohmann::json read_baseline(const std::string& path);
// chosen: the runs were named on the command line; cells and seeds of the baseline without one of them are
// left out.
GateReport check_against(const nlohmann::json& baseline, const std::vector<RunRecord>& runs, bool chosen);

// The cell of the baseline that a run belongs to, or null; for calibrate.
nlohmann::json* find_cell(nlohmann::json& baseline, const RunRecord& run, const std::string& task);

std::string gate_as_text(const GateReport& report, const std::string& format); // as render() of table.h
std::string gate_as_markdown(const GateReport& report);                        // for a pull request
std::string gate_as_junit(const GateReport& report);
std::string gate_as_github(const GateReport& report); // workflow commands, one a line
nlohmann::json gate_as_json(const GateReport& report);

} // namespace dorabench
