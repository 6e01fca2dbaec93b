// The program: the registries are filled by builtin.cpp, the rest is cli.
#include "harness/base/heap.h"
#include "harness/builtin.h"
#include "harness/cli/commands.h"

int main(int argc, char** argv) {
    dorabench::keep_heap_pages();
    dorabench::Registries registries;
    dorabench::register_builtin(registries);
    return dorabench::run_cli(argc, argv, registries);
}
