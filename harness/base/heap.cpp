#include "harness/base/heap.h"
#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

namespace dorabench {
namespace {
constexpr int kMmapMax = 0, kTrimThreshold = 1 << 30;
}

void keep_heap_pages() {
#if defined(__GLIBC__)
    mallopt(M_MMAP_MAX, kMmapMax);
    mallopt(M_TRIM_THRESHOLD, kTrimThreshold);
#endif
}

std::string heap_environment() {
    return "MALLOC_MMAP_MAX_=" + std::to_string(kMmapMax) +
           " MALLOC_TRIM_THRESHOLD_=" + std::to_string(kTrimThreshold);
}

} // namespace dorabench
