// The list: the only file that names concrete backends.
#include "harness/builtin.h"
#include "backends/llama/backend.h"
#include "backends/llava/llava.h"
#include "backends/vlbart/backend.h"

namespace dorabench {

void register_builtin(Registries& registries) {
    registries.backends.add(llama_backend_factory());
    registries.backends.add(llava_backend_factory());
    registries.backends.add(vlbart_backend_factory());
}

} // namespace dorabench
