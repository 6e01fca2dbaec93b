#include "tests/support/paths.h"

namespace dorabench::test {

std::string source_dir() { return DORABENCH_SOURCE_DIR; }
std::string binary_dir() { return DORABENCH_BINARY_DIR; }

} // namespace dorabench::test
