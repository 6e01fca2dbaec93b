#pragma once
// What a checkpoint says about decoding: generation_config.json, else the legacy keys of config.json.
#include "harness/api/types.h"
#include <string>
#include <vector>

namespace dorabench {

// Reads both files of a checkpoint folder (either may be absent); options has eos_set where end tokens are
// stated. Sampling is never switched on by a file (do_sample and temperature are not read): only
// --temperature does that. Error::data names file and key.
GenerateOptions read_generation_defaults(const std::string& folder);

// A request's options with the checkpoint's end tokens, forced_bos and forced_eos where the request leaves
// them open (eos_set false; forced ids -1, the checkpoint's; -2 means none).
GenerateOptions resolve_generation(GenerateOptions options, const GenerateOptions& defaults);
// Also takes the checkpoint's value of every option that `given` (HF's names) does not list: what `generate`
// does.
GenerateOptions merge_generation(const GenerateOptions& options, const std::vector<std::string>& given,
                                 const GenerateOptions& defaults);

} // namespace dorabench
