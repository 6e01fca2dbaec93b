// The program: the registries are filled by builtin.cpp, the rest is cli.
#include "harness/builtin.h"
#include "harness/cli/commands.h"
#if defined(__GLIBC__)
#include <malloc.h>
#endif

int main(int argc, char** argv) {
#if defined(__GLIBC__)
    // Activations come and go at the same sizes in every step: kept on the heap, their pages are not given
    // back and faulted in anew each time (8 % of a step on a 7B layer, results/LOG.md).
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
    dorabench::Registries registries;
    dorabench::register_builtin(registries);
    return dorabench::run_cli(argc, argv, registries);
}
