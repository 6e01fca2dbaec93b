#include "backends/nn/scoring.h"
#include "backends/ops/row_math.h"
#include <algorithm>
#include <map>

namespace dorabench {
namespace {

struct Group {
    std::vector<size_t> jobs;
    int64_t tokens = 0; // that it adds to a batch
};

std::vector<Group> group_by_context(std::span<const ScoreJob> jobs) {
    std::map<std::span<const int64_t>, size_t,
             decltype([](std::span<const int64_t> a, std::span<const int64_t> b) {
                 return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
             })>
        known;
    std::vector<Group> groups;
    for (size_t i = 0; i < jobs.size(); ++i) {
        auto [at, fresh] = known.try_emplace(jobs[i].context, groups.size());
        if (fresh) groups.push_back({{}, static_cast<int64_t>(jobs[i].context.size())});
        Group& group = groups[at->second];
        group.jobs.push_back(i);
        group.tokens += std::max<int64_t>(0, static_cast<int64_t>(jobs[i].continuation.size()) - 1);
    }
    std::stable_sort(groups.begin(), groups.end(),
                     [](const Group& a, const Group& b) { return a.tokens > b.tokens; });
    return groups;
}

class BatchBuilder {
public:
    explicit BatchBuilder(std::span<const ScoreJob> jobs) : jobs_(jobs) {}

    // The causal part of a group: its context, and the whole of a job that shares it with none.
    void add_rows(const Group& group) {
        const ScoreJob& first = jobs_[group.jobs[0]];
        const int64_t begin = static_cast<int64_t>(batch_.ids.size());
        append(first.context, 0, first.context.size());
        if (group.jobs.size() == 1 && !first.continuation.empty())
            append(first.continuation, first.context.size(), first.continuation.size() - 1);
        batch_.rows.push_back({begin, static_cast<int64_t>(batch_.ids.size())});
    }

    void add_branches(const Group& group, const PackedRow& row) {
        for (size_t job : group.jobs) {
            const ScoreJob& j = jobs_[job];
            const int64_t context = static_cast<int64_t>(j.context.size()),
                          inputs = static_cast<int64_t>(j.continuation.size()) - 1;
            batch_.jobs.push_back(job);
            if (inputs < 0) continue;
            int64_t own = row.begin + context; // where the states of the continuation's tokens lie
            if (group.jobs.size() > 1) {
                own = static_cast<int64_t>(batch_.ids.size());
                append(j.continuation, context, inputs);
                for (int64_t i = 0; i < inputs; ++i)
                    batch_.seen.add_range(row.begin, row.begin + context, own, own + i + 1);
            }
            for (int64_t i = 0; i <= inputs; ++i)
                batch_.targets.push_back(
                    {i == 0 ? row.begin + context - 1 : own + i - 1, j.continuation[i], job});
        }
    }

    ScoreBatch build(const std::vector<Group>& groups) {
        for (const Group& group : groups) add_rows(group);
        batch_.branches_begin = static_cast<int64_t>(batch_.ids.size());
        for (size_t i = 0; i < groups.size(); ++i) add_branches(groups[i], batch_.rows[i]);
        return std::move(batch_);
    }

private:
    void append(const Ids& ids, int64_t position, size_t count) {
        for (size_t i = 0; i < count; ++i) {
            batch_.ids.push_back(ids[i]);
            batch_.positions.push_back(position + static_cast<int64_t>(i));
        }
    }
    std::span<const ScoreJob> jobs_;
    ScoreBatch batch_;
};

} // namespace

std::vector<ScoreBatch> plan_scoring(std::span<const ScoreJob> jobs, const ScoringLimits& limits) {
    std::vector<ScoreBatch> batches;
    std::vector<Group> current;
    int64_t tokens = 0, count = 0;
    auto close = [&] {
        if (!current.empty()) batches.push_back(BatchBuilder(jobs).build(current));
        current.clear(), tokens = 0, count = 0;
    };
    for (Group& group : group_by_context(jobs)) {
        const int64_t size = static_cast<int64_t>(group.jobs.size());
        if (tokens + group.tokens > limits.tokens || count + size > limits.jobs) close();
        tokens += group.tokens, count += size;
        current.push_back(std::move(group));
    }
    close();
    return batches;
}

KeptStates kept_states(const ScoreBatch& batch) {
    KeptStates kept;
    for (const ScoreBatch::Target& target : batch.targets) kept.states.push_back(target.hidden);
    std::sort(kept.states.begin(), kept.states.end());
    kept.states.erase(std::unique(kept.states.begin(), kept.states.end()), kept.states.end());
    size_t row = 0;
    for (int64_t state : kept.states) {
        if (state < batch.branches_begin) {
            while (batch.rows[row].end <= state) ++row;
            kept.seen.add(batch.rows[row].begin, state + 1, {});
            continue;
        }
        const int64_t i = state - batch.branches_begin;
        const int64_t first = batch.seen.tail_offset[i], last = batch.seen.tail_offset[i + 1];
        kept.seen.add(batch.seen.prefix_begin[i], batch.seen.prefix_end[i],
                      std::span(batch.seen.tail).subspan(first, last - first));
    }
    for (const ScoreBatch::Target& target : batch.targets)
        kept.row_of_target.push_back(std::lower_bound(kept.states.begin(), kept.states.end(), target.hidden) -
                                     kept.states.begin());
    return kept;
}

std::vector<TokenScore> token_scores(const at::Tensor& logits, std::span<const int64_t> tokens) {
    const int64_t vocab = logits.size(1);
    const float* data = logits.const_data_ptr<float>();
    std::vector<TokenScore> out(tokens.size());
    at::parallel_for(0, static_cast<int64_t>(tokens.size()), 4, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const float* row = data + i * vocab;
            out[i] = {row[tokens[i]] - row_log_sum_exp(row, vocab), row_argmax(row, vocab) == tokens[i]};
        }
    });
    return out;
}

} // namespace dorabench
