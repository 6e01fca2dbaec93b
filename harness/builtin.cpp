// The list: the only file that names concrete backends.
#include "harness/builtin.h"
#include "backends/llama/backend.h"

namespace dorabench {

void register_builtin(Registries& registries) { registries.backends.add(llama_backend_factory()); }

} // namespace dorabench
