#pragma once
// Rows of codes that begin alike: several questions on one image share the image's keys and values, which are
// computed once.
#include "backends/llama/decoder.h"
#include "backends/nn/scoring.h"

namespace dorabench {

// Rows whose codes agree up to the last patch of their last image (rows without images: agree wholly) form a
// group, which shares everything that its rows begin with. Groups in the order of their first row.
std::vector<PrefixGroup> group_by_prefix(std::span<const Codes> rows);

// As plan_scoring, with contexts of codes: a group's common prefix is a causal row, the rest of each context
// branches off it once, and the continuations branch off their contexts.
std::vector<ScoreBatch> plan_prefix_scoring(std::span<const ScoreJob> jobs, const ScoringLimits& limits);

} // namespace dorabench
