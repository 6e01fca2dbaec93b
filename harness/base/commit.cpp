// Apart from env.cpp: the generated header changes with every commit, and this is all that is compiled again.
#include "dorabench_commit.h"
#include "harness/base/env.h"

namespace dorabench {

std::string commit() { return DORABENCH_COMMIT; }

} // namespace dorabench
