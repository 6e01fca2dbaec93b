#pragma once
// merge: the form in which the copy is written.
#include "harness/cli/commands.h"

namespace dorabench {

struct MergeForm {
    std::string as = "dense"; // dense | nf4: linear weights in bitsandbytes' prequantised form
    bool double_quant = true; // of nf4
};
int merge_as(const MergeOptions&, const MergeForm&, const Globals&); // merge_command: dense

} // namespace dorabench
