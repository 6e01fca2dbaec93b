#include "backends/llava/prefixes.h"
#include <algorithm>
#include <map>

namespace dorabench {
namespace {

struct Shorter {
    bool operator()(std::span<const int64_t> a, std::span<const int64_t> b) const {
        return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
    }
};
template <typename Value>
using BySpan = std::map<std::span<const int64_t>, Value, Shorter>;

int64_t common_length(const Codes& a, const Codes& b, int64_t most) {
    const int64_t n = std::min<int64_t>(most, static_cast<int64_t>(std::min(a.size(), b.size())));
    return std::mismatch(a.begin(), a.begin() + n, b.begin()).first - a.begin();
}

class BatchBuilder {
public:
    explicit BatchBuilder(std::span<const ScoreJob> jobs) : jobs_(jobs) {}

    ScoreBatch build(const std::vector<PrefixGroup>& groups) {
        for (const PrefixGroup& group : groups) add_row(group);
        batch_.branches_begin = static_cast<int64_t>(batch_.ids.size());
        for (size_t i = 0; i < groups.size(); ++i) add_branches(groups[i], batch_.rows[i]);
        return std::move(batch_);
    }

private:
    // The causal part of a group: its prefix, and the whole of a job that shares it with none.
    void add_row(const PrefixGroup& group) {
        const ScoreJob& first = jobs_[group.rows[0]];
        const int64_t begin = static_cast<int64_t>(batch_.ids.size());
        append(first.context, 0, group.length, 0);
        if (group.rows.size() == 1 && !first.continuation.empty())
            append(first.continuation, 0, static_cast<int64_t>(first.continuation.size()) - 1, group.length);
        batch_.rows.push_back({begin, static_cast<int64_t>(batch_.ids.size())});
    }

    void add_branches(const PrefixGroup& group, const PackedRow& row) {
        if (group.rows.size() == 1) {
            finish(group.rows[0], row.begin + group.length - 1, row.begin + group.length);
            return;
        }
        BySpan<std::pair<int64_t, int64_t>> contexts; // where the rest of each lies
        for (size_t job : group.rows) {
            const ScoreJob& j = jobs_[job];
            const int64_t rest = static_cast<int64_t>(j.context.size()) - group.length;
            const auto [at, fresh] =
                contexts.try_emplace(j.context, std::pair(static_cast<int64_t>(batch_.ids.size()), rest));
            const int64_t begin = at->second.first;
            if (fresh) {
                append(j.context, group.length, rest, group.length);
                for (int64_t i = 0; i < rest; ++i)
                    batch_.seen.add_range(row.begin, row.end, begin, begin + i + 1);
            }
            const int64_t inputs = static_cast<int64_t>(j.continuation.size()) - 1,
                          own = static_cast<int64_t>(batch_.ids.size());
            if (inputs > 0) append(j.continuation, 0, inputs, group.length + rest);
            std::vector<int64_t> tail;
            for (int64_t i = 0; i < rest; ++i) tail.push_back(begin + i);
            for (int64_t i = 0; i < inputs; ++i) {
                tail.push_back(own + i);
                batch_.seen.add(row.begin, row.end, tail);
            }
            finish(job, rest > 0 ? begin + rest - 1 : row.end - 1, own);
        }
    }

    // last: the context's last state; own: where the continuation's states begin
    void finish(size_t job, int64_t last, int64_t own) {
        const Ids& tokens = jobs_[job].continuation;
        batch_.jobs.push_back(job);
        for (size_t i = 0; i < tokens.size(); ++i)
            batch_.targets.push_back({i == 0 ? last : own + static_cast<int64_t>(i) - 1, tokens[i], job});
    }

    void append(const Ids& ids, int64_t begin, int64_t count, int64_t position) {
        for (int64_t i = 0; i < count; ++i) {
            batch_.ids.push_back(ids[begin + i]);
            batch_.positions.push_back(position + i);
        }
    }

    std::span<const ScoreJob> jobs_;
    ScoreBatch batch_;
};

} // namespace

std::vector<PrefixGroup> group_by_prefix(std::span<const Codes> rows) {
    BySpan<size_t> known;
    std::vector<PrefixGroup> groups;
    for (size_t i = 0; i < rows.size(); ++i) {
        size_t end = rows[i].size();
        while (end > 0 && rows[i][end - 1] >= 0) --end;
        if (end == 0) end = rows[i].size();
        const auto [at, fresh] = known.try_emplace(std::span(rows[i]).first(end), groups.size());
        if (fresh) groups.push_back({{}, static_cast<int64_t>(rows[i].size())});
        PrefixGroup& group = groups[at->second];
        if (!group.rows.empty()) group.length = common_length(rows[group.rows[0]], rows[i], group.length);
        group.rows.push_back(i);
    }
    return groups;
}

std::vector<ScoreBatch> plan_prefix_scoring(std::span<const ScoreJob> jobs, const ScoringLimits& limits) {
    std::vector<Codes> contexts;
    for (const ScoreJob& job : jobs) contexts.push_back(job.context);
    std::vector<ScoreBatch> batches;
    std::vector<PrefixGroup> current;
    int64_t tokens = 0, count = 0;
    auto close = [&] {
        // a group that was divided may leave one job alone, which then shares nothing
        for (PrefixGroup& group : current)
            if (group.rows.size() == 1)
                group.length = static_cast<int64_t>(jobs[group.rows[0]].context.size());
        if (!current.empty()) batches.push_back(BatchBuilder(jobs).build(current));
        current.clear(), tokens = 0, count = 0;
    };
    for (const PrefixGroup& group : group_by_prefix(contexts)) {
        bool open = false; // whether the last of `current` is this group
        for (size_t job : group.rows) {
            const int64_t branch =
                static_cast<int64_t>(jobs[job].context.size() + jobs[job].continuation.size()) - group.length;
            const int64_t added = open ? branch : branch + group.length;
            if (count > 0 && (tokens + added > limits.tokens || count >= limits.jobs)) close(), open = false;
            if (!open) current.push_back({{}, group.length}), tokens += group.length;
            open = true;
            current.back().rows.push_back(job);
            tokens += branch, ++count;
        }
    }
    close();
    return batches;
}

} // namespace dorabench
