#include "backends/nn/scoring.h"
#include <gtest/gtest.h>
#include <set>

namespace dorabench {
namespace {

// The tokens that the query of a list sees, its own included, as ids of the batch.
Ids seen_by(const ScoreBatch& batch, const KeyLists& lists, size_t i) {
    Ids ids;
    for (int64_t at = lists.prefix_begin[i]; at < lists.prefix_end[i]; ++at) ids.push_back(batch.ids[at]);
    for (int64_t t = lists.tail_offset[i]; t < lists.tail_offset[i + 1]; ++t)
        ids.push_back(batch.ids[lists.tail[t]]);
    return ids;
}

TEST(KeptStates, EveryTargetIsPredictedFromAllThatStandsBeforeIt) {
    const std::vector<ScoreJob> jobs{
        {{1, 2, 3}, {10, 11}}, {{1, 2, 3}, {12}}, {{1, 2, 3}, {10, 13, 14}}, {{7}, {8, 9}}, {{5, 6}, {}}};
    const auto batches = plan_scoring(jobs, {});
    ASSERT_EQ(batches.size(), 1u);
    const ScoreBatch& batch = batches[0];
    const KeptStates kept = kept_states(batch);
    ASSERT_EQ(kept.row_of_target.size(), batch.targets.size());
    ASSERT_EQ(kept.seen.size(), kept.states.size());
    std::vector<size_t> done(jobs.size(), 0);
    for (size_t t = 0; t < batch.targets.size(); ++t) {
        const auto& target = batch.targets[t];
        const size_t row = static_cast<size_t>(kept.row_of_target[t]);
        EXPECT_EQ(kept.states[row], target.hidden);
        const ScoreJob& job = jobs[target.job];
        Ids before = job.context;
        before.insert(before.end(), job.continuation.begin(), job.continuation.begin() + done[target.job]);
        EXPECT_EQ(seen_by(batch, kept.seen, row), before) << "job " << target.job;
        EXPECT_EQ(target.token, job.continuation[done[target.job]++]);
    }
    for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(done[i], jobs[i].continuation.size());
    EXPECT_EQ(std::set<int64_t>(kept.states.begin(), kept.states.end()).size(), kept.states.size());
}

} // namespace
} // namespace dorabench
