#pragma once
// The self-checks of every run (product contract, section 3): they exist because the field has published whole tables of
// methods that silently did not train.
#include "harness/train/train.h"
#include <nlohmann/json_fwd.hpp>

namespace dorabench {

struct CheckResult { std::string name, status; /* passed | failed | not applicable | reported */ double value = 0; std::string message; };

// identity at step 0: adapted logits equal the base's, largest |Δlogit| at most 1e-5 of the largest |logit| in float32
// (reported, not judged, in 16 bit). With init from a folder: measured with B, b at zero and m at the norm, then restored.
CheckResult check_identity(Backend& backend, AdapterSet& adapter, const Ids& probe);
// every trainable group has had a gradient and has moved; names the group that did not
CheckResult check_liveness(const TrainOutcome& outcome);
// the saved file holds exactly the trainable tensors (VeRA's frozen projections may lie beside them)
CheckResult check_keys(AdapterSet& adapter, const std::string& folder);
// saves, loads into the same adapter after disturbing it, and compares logits bit for bit
CheckResult check_reload(Backend& backend, AdapterSet& adapter, const Ids& probe, const std::string& folder);
// largest |Δlogit| between unmerged and merged (weights replaced in memory, then restored)
CheckResult check_merge(Backend& backend, AdapterSet& adapter, const Ids& probe);
nlohmann::json checks_json(const std::vector<CheckResult>& checks);

} // namespace dorabench
