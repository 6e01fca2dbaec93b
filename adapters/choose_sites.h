#pragma once
// Which linear layers an adapter's settings choose, with each one's rank and scaling, from shapes alone:
// attach_adapter and count_adapter both start here, so a plan counts what a run trains.
#include "harness/api/backend.h"
#include "harness/api/settings.h"
#include <string>
#include <vector>

namespace dorabench {

struct SiteChoice {
    std::string path; // "model.layers.0.self_attn.q_proj"
    int64_t out = 0, in = 0;
    bool low_rank = true;   // false: the magnitude alone (magnitude_modules)
    bool magnitude = false; // dora, dvora
    int64_t rank = 0;       // after rank_pattern
    double alpha = 0,
           scaling = 1; // after alpha_pattern; alpha / rank, or alpha / sqrt(rank) with rslora; 1 for VeRA
};

struct AdapterChoice {
    std::vector<SiteChoice> sites; // in checkpoint order
    std::vector<std::string>
        trained; // base parameters that are trained: all for ft, what train_also matches otherwise
};

// Error::config for an unknown method, a rank or scaling out of range, a pattern that meets nothing (with the
// nearest module name), a regular expression that does not compile.
AdapterChoice choose_sites(const ModelShapes& shapes, const AdapterSettings& settings);

// A list entry of target_modules: the module's path or the end of it after a dot, or an fnmatch pattern of
// either.
bool matches_module(const std::string& entry, const std::string& path);
bool has_wildcard(const std::string& entry);
// A key of rank_pattern or alpha_pattern: the path, its end after a dot, or a regular expression of one of
// them, as PEFT resolves it: `(.*\.)?(key)$`.
bool matches_pattern_key(const std::string& key, const std::string& path);

} // namespace dorabench
