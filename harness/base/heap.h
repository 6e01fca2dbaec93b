#pragma once
// How the process keeps its heap. Activations come and go at the same sizes in every step: kept on the heap,
// their pages are not given back and faulted in anew each time (8 % of a step on a 7B layer, results/LOG.md).
#include <string>

namespace dorabench {

// glibc: no allocation by mmap, and up to 1 GiB of free heap is kept. Elsewhere nothing.
void keep_heap_pages();

// The same for a process that is started beside this one: "MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=...".
std::string heap_environment();

} // namespace dorabench
