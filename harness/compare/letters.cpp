#include "harness/compare/letters.h"
#include "harness/base/text.h"
#include "harness/compare/compare.h"
#include "tasks/metrics/statistics.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace dorabench {
namespace {

constexpr double kLevel = 0.05;
constexpr size_t kMostLetters = 52;

using Scores = std::vector<float>; // by item; NaN where not answered

struct Answers {                         // of all runs of a comparison to one task
    std::map<std::string, size_t> items; // by id and prompt
    std::map<std::string, Scores> runs;  // by run id
    bool binary = true;
};

struct PairOutcome {
    double difference = 0, variance = 0, p = 1; // variance: of the difference
    bool tested = false;
};

Answers read_answers(const Comparison& comparison, const std::string& task,
                     const std::map<std::string, const RunRecord*>& records) {
    Answers out;
    for (const MethodRow& row : comparison.rows)
        for (const std::string& id : row.runs) {
            auto samples = read_samples(records.at(id)->path, task);
            if (!samples) continue;
            Scores& scores = out.runs[id];
            out.binary = out.binary && samples->binary();
            for (const auto& [item, answer] : samples->items) {
                size_t at = out.items.emplace(item + '\x1f' + answer.prompt, out.items.size()).first->second;
                if (scores.size() <= at) scores.resize(at + 1, std::numeric_limits<float>::quiet_NaN());
                scores[at] = static_cast<float>(answer.score);
            }
        }
    for (auto& [id, scores] : out.runs)
        scores.resize(out.items.size(), std::numeric_limits<float>::quiet_NaN());
    return out;
}

// The runs of two rows that belong together: seeds that both have; one run each whatever the seeds.
std::vector<std::pair<const Scores*, const Scores*>> paired_runs(const MethodRow& a, const MethodRow& b,
                                                                 const Answers& answers) {
    std::vector<std::pair<const Scores*, const Scores*>> out;
    for (size_t i = 0; i < a.runs.size(); ++i)
        for (size_t j = 0; j < b.runs.size(); ++j) {
            bool single = a.runs.size() == 1 && b.runs.size() == 1;
            auto left = answers.runs.find(a.runs[i]), right = answers.runs.find(b.runs[j]);
            if ((single || a.seeds[i] == b.seeds[j]) && left != answers.runs.end() &&
                right != answers.runs.end())
                out.push_back({&left->second, &right->second});
        }
    return out;
}

// Two-sided p of Student's t, by bisection of the quantile: the library has the one and not the other.
double p_of_t(double t, double degrees) {
    double low = 0.5, high = 1;
    for (int i = 0; i < 60; ++i) {
        double middle = (low + high) / 2;
        (student_t_quantile(middle, degrees) < std::abs(t) ? low : high) = middle;
    }
    return 2 * (1 - low);
}

double p_of_normal(double z) { return std::erfc(std::abs(z) / std::sqrt(2.0)); }

PairOutcome test_pair(const MethodRow& a, const MethodRow& b, const Answers& answers) {
    PairOutcome out;
    auto runs = paired_runs(a, b, answers);
    double sum = 0, squares = 0, n = 0;
    int64_t only_a = 0, only_b = 0;
    for (size_t item = 0; item < answers.items.size() && !runs.empty(); ++item) {
        double difference = 0, count = 0;
        for (const auto& [left, right] : runs)
            if (!std::isnan((*left)[item]) && !std::isnan((*right)[item])) {
                difference += static_cast<double>((*right)[item]) - static_cast<double>((*left)[item]);
                ++count;
            }
        if (count == 0) continue;
        difference /= count;
        sum += difference;
        squares += difference * difference;
        ++n;
        only_a += difference < 0;
        only_b += difference > 0;
    }
    if (n < 2) return out;
    out.tested = true;
    out.difference = sum / n;
    out.variance = std::max(0.0, squares / n - out.difference * out.difference) / (n - 1);
    if (answers.binary && runs.size() == 1)
        out.p = mcnemar_counts(only_a, only_b).p_exact;
    else if (out.variance > 0)
        out.p = p_of_t(out.difference / std::sqrt(out.variance), n - 1);
    else // every item differs by the same amount, or none does
        out.p = out.difference == 0 ? 1 : std::pow(2.0, 1 - n);
    return out;
}

PairOutcome average_of(const std::vector<PairOutcome>& tasks) {
    PairOutcome out;
    double count = 0;
    for (const PairOutcome& task : tasks) {
        if (!task.tested) continue;
        out.difference += task.difference;
        out.variance += task.variance;
        ++count;
    }
    if (count == 0) return out;
    out.tested = true;
    out.difference /= count;
    out.variance /= count * count;
    if (out.variance > 0)
        out.p = p_of_normal(out.difference / std::sqrt(out.variance));
    else
        out.p = out.difference == 0 ? 1 : 0;
    return out;
}

struct Column { // the rows that have a value, and the pairs of them
    std::vector<size_t> rows;
    std::vector<double> means;
    std::vector<std::pair<size_t, size_t>> pairs; // places in `rows`
    std::vector<double> p;
};

void add_column(Comparison& comparison, const std::string& task, const Column& column) {
    if (column.rows.size() < 2 || column.pairs.empty()) return;
    std::vector<double> adjusted = holm(column.p);
    std::vector<std::pair<size_t, size_t>> differ;
    for (size_t i = 0; i < adjusted.size(); ++i)
        if (adjusted[i] < kLevel) differ.push_back(column.pairs[i]);
    std::vector<std::string> letters = letter_display(column.means, differ);
    for (size_t i = 0; i < column.rows.size(); ++i)
        comparison.rows[column.rows[i]].letters[task] = letters[i];
}

void add_letters(Comparison& comparison, const std::map<std::string, const RunRecord*>& records) {
    std::map<std::pair<size_t, size_t>, std::vector<PairOutcome>> by_pair;
    for (const std::string& task : comparison.tasks) {
        Answers answers = read_answers(comparison, task, records);
        Column column;
        for (size_t row = 0; row < comparison.rows.size(); ++row) {
            auto cell = comparison.rows[row].tasks.find(task);
            if (cell == comparison.rows[row].tasks.end() || !cell->second.estimate.present) continue;
            column.rows.push_back(row);
            column.means.push_back(cell->second.estimate.value);
        }
        for (size_t i = 0; i < column.rows.size(); ++i)
            for (size_t j = i + 1; j < column.rows.size(); ++j) {
                PairOutcome outcome =
                    test_pair(comparison.rows[column.rows[i]], comparison.rows[column.rows[j]], answers);
                by_pair[{column.rows[i], column.rows[j]}].push_back(outcome);
                if (!outcome.tested) continue;
                column.pairs.push_back({i, j});
                column.p.push_back(outcome.p);
            }
        add_column(comparison, task, column);
    }
    Column average;
    std::map<size_t, size_t> place;
    for (size_t row = 0; row < comparison.rows.size(); ++row) {
        if (!comparison.rows[row].average.present) continue;
        place[row] = average.rows.size();
        average.rows.push_back(row);
        average.means.push_back(comparison.rows[row].average.value);
    }
    for (const auto& [rows, tasks] : by_pair) {
        PairOutcome outcome = average_of(tasks);
        if (!outcome.tested || !place.count(rows.first) || !place.count(rows.second)) continue;
        average.pairs.push_back({place[rows.first], place[rows.second]});
        average.p.push_back(outcome.p);
    }
    add_column(comparison, kAverageLetters, average);
}

using Members = std::vector<bool>;

bool within(const Members& inner, const Members& outer) {
    for (size_t i = 0; i < inner.size(); ++i)
        if (inner[i] && !outer[i]) return false;
    return true;
}

// Sets that lie within another say nothing of their own.
void absorb(std::vector<Members>& sets) {
    std::vector<Members> kept;
    for (size_t i = 0; i < sets.size(); ++i) {
        bool needless = false;
        for (size_t j = 0; j < sets.size() && !needless; ++j)
            needless = i != j && within(sets[i], sets[j]) && (sets[i] != sets[j] || j < i);
        if (!needless) kept.push_back(sets[i]);
    }
    sets = std::move(kept);
}

} // namespace

std::vector<std::string> letter_display(const std::vector<double>& means,
                                        const std::vector<std::pair<size_t, size_t>>& differ) {
    std::vector<std::string> out(means.size());
    std::vector<Members> sets{Members(means.size(), true)};
    for (const auto& [a, b] : differ) {
        std::vector<Members> next;
        for (const Members& set : sets) {
            if (!set[a] || !set[b]) {
                next.push_back(set);
                continue;
            }
            for (size_t left_out : {a, b}) {
                next.push_back(set);
                next.back()[left_out] = false;
            }
        }
        sets = std::move(next);
        absorb(sets);
        if (sets.size() > kMostLetters) return out;
    }
    std::vector<size_t> order(means.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return means[a] > means[b]; });
    auto key = [&](const Members& set) { // by its best member, then by the next ones
        std::vector<size_t> places;
        for (size_t i = 0; i < order.size(); ++i)
            if (set[order[i]]) places.push_back(i);
        return places;
    };
    std::sort(sets.begin(), sets.end(), [&](const Members& a, const Members& b) { return key(a) < key(b); });
    for (size_t letter = 0; letter < sets.size(); ++letter)
        for (size_t i = 0; i < out.size(); ++i)
            if (sets[letter][i])
                out[i] += static_cast<char>(letter < 26 ? 'a' + letter : 'A' + (letter - 26));
    return out;
}

std::vector<Comparison> lettered_comparisons(const std::vector<RunRecord>& records) {
    std::map<std::string, const RunRecord*> by_id;
    for (const RunRecord& record : records) by_id[record.id] = &record;
    std::vector<Comparison> out = make_comparisons(records);
    for (Comparison& comparison : out) {
        if (comparison.rows.size() < 2) continue;
        add_letters(comparison, by_id);
        std::vector<Runs> runs;
        for (const MethodRow& row : comparison.rows)
            for (runs.emplace_back(); const std::string& id : row.runs) runs.back().push_back(*by_id.at(id));
        std::vector<FairnessSide> sides;
        for (size_t i = 0; i < runs.size(); ++i) sides.push_back({row_name(comparison.rows[i]), &runs[i]});
        comparison.warnings = fairness_warnings(sides, records);
    }
    return out;
}

} // namespace dorabench
