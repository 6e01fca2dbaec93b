#include "harness/compare/paired.h"
#include <algorithm>
#include <limits>

namespace dorabench {
namespace {

constexpr int kResamples = 10000;

double mean_of(const std::vector<double>& values) {
    double sum = 0;
    for (double value : values) sum += value;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double deviation_of(const std::vector<double>& values) { // of the sample; 0 below two values
    if (values.size() < 2) return 0;
    double mean = mean_of(values), squares = 0;
    for (double value : values) squares += (value - mean) * (value - mean);
    return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

double cohen_h(double a, double b) {
    return 2 * std::asin(std::sqrt(std::clamp(b, 0.0, 1.0))) -
           2 * std::asin(std::sqrt(std::clamp(a, 0.0, 1.0)));
}

// Means among the parsed answers of all seeds.
struct ParsedMean {
    double sum = 0, count = 0;
    void add(const ItemScore& item) {
        if (!item.parsed) return;
        sum += item.score;
        ++count;
    }
    double value() const { return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN(); }
};

struct Cluster { // one item over the seeds
    double a = 0, b = 0, count = 0;
};

struct Paired {
    std::vector<double> a, b;                // answer by answer, all seeds
    std::map<std::string, Cluster> clusters; // by id and prompt
    std::vector<double> seed_differences;
};

void add_pair(const SamplePair& pair, PairedTask& out, Paired& paired) {
    int64_t shared = 0;
    double sum = 0;
    for (const auto& [id, left] : pair.a.items) {
        auto at = pair.b.items.find(id);
        if (at == pair.b.items.end()) continue;
        const ItemScore& right = at->second;
        ++shared;
        sum += right.score - left.score;
        paired.a.push_back(left.score);
        paired.b.push_back(right.score);
        Cluster& cluster = paired.clusters[id + '\x1f' + left.prompt];
        cluster.a += left.score;
        cluster.b += right.score;
        ++cluster.count;
        out.discordance += left.score != right.score;
        out.other_prompt += left.prompt != right.prompt;
        out.unparsed_a += !left.parsed;
        out.unparsed_b += !right.parsed;
        for (double score : {left.score, right.score}) out.binary = out.binary && (score == 0 || score == 1);
    }
    out.only_a += static_cast<int64_t>(pair.a.items.size()) - shared;
    out.only_b += static_cast<int64_t>(pair.b.items.size()) - shared;
    if (shared > 0) paired.seed_differences.push_back(sum / static_cast<double>(shared));
}

void fill_parsed(const std::vector<SamplePair>& pairs, PairedTask& out) {
    ParsedMean a, b;
    for (const SamplePair& pair : pairs)
        for (const auto& [id, left] : pair.a.items)
            if (auto at = pair.b.items.find(id); at != pair.b.items.end()) {
                a.add(left);
                b.add(at->second);
            }
    out.parsed_a = a.value();
    out.parsed_b = b.value();
}

void fill_seed_interval(const std::vector<double>& differences, PairedTask& out) {
    if (differences.size() < 2) return;
    double n = static_cast<double>(differences.size()), mean = mean_of(differences);
    double half = student_t_quantile(0.975, n - 1) * deviation_of(differences) / std::sqrt(n);
    out.seed_interval = {mean - half, mean + half};
}

} // namespace

PairedTask compare_task(const std::string& task, const std::vector<SamplePair>& pairs) {
    PairedTask out;
    out.task = task;
    Paired paired;
    for (const SamplePair& pair : pairs) add_pair(pair, out, paired);
    out.seeds = paired.seed_differences.size();
    out.n = static_cast<int64_t>(paired.a.size());
    out.items = static_cast<int64_t>(paired.clusters.size());
    if (out.n == 0) return out;
    std::vector<double> a, b, differences;
    for (const auto& [key, cluster] : paired.clusters) {
        a.push_back(cluster.a / cluster.count);
        b.push_back(cluster.b / cluster.count);
        differences.push_back(b.back() - a.back());
    }
    out.discordance /= static_cast<double>(out.n);
    out.mean_a = mean_of(paired.a);
    out.mean_b = mean_of(paired.b);
    out.difference = out.mean_b - out.mean_a;
    fill_parsed(pairs, out);
    fill_seed_interval(paired.seed_differences, out);
    double items = static_cast<double>(out.items), deviation = deviation_of(differences);
    out.standard_error = deviation / std::sqrt(items);
    PairedBootstrap bootstrap = paired_bootstrap(b, a, kResamples);
    out.interval = bootstrap.interval;
    out.p = out.bootstrap_p = bootstrap.p;
    out.effect = out.binary      ? cohen_h(out.mean_a, out.mean_b)
                 : deviation > 0 ? out.difference / deviation
                                 : 0;
    // without a single disagreement the items still may disagree in 3 of n cases (rule of three)
    double least = std::min(1.0, 3.0 / static_cast<double>(out.items));
    if (out.binary && out.seeds == 1) {
        out.exact = true;
        out.mcnemar = mcnemar(paired.a, paired.b);
        out.p = out.mcnemar.p_exact;
        out.resolvable = minimum_detectable_difference(out.n, out.discordance > 0 ? out.discordance : least);
    } else {
        double z = normal_quantile(0.975) + normal_quantile(0.8);
        out.resolvable = out.standard_error > 0 ? std::min(1.0, z * out.standard_error)
                                                : minimum_detectable_difference(out.items, least);
    }
    return out;
}

void adjust_by_holm(const std::vector<PairedTask*>& tasks) {
    std::vector<double> p;
    for (const PairedTask* task : tasks) p.push_back(task->p);
    p = holm(p);
    for (size_t i = 0; i < tasks.size(); ++i) tasks[i]->p_adjusted = p[i];
}

} // namespace dorabench
