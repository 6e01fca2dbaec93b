#pragma once
// What a result depends on, as JSON: versions, commit, device, threads, and hashes of data and checkpoint.
#include "harness/api/backend.h"
#include "tasks/catalog.h"
#include <nlohmann/json_fwd.hpp>

namespace dorabench {

nlohmann::json provenance_json(const RunSettings& settings, const Backend* backend,
                               const TaskCatalog& catalog);
std::string utc_now();          // 2026-11-23T01:40:00Z
std::string libtorch_version(); // of the library in this process

} // namespace dorabench
