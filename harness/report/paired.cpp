#include "harness/report/paired.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

constexpr int kResamples = 10000;

double mean_of(const std::vector<double>& values) {
    double sum = 0;
    for (double value : values) sum += value;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double cohen_h(double a, double b) {
    return 2 * std::asin(std::sqrt(std::clamp(b, 0.0, 1.0))) -
           2 * std::asin(std::sqrt(std::clamp(a, 0.0, 1.0)));
}

} // namespace

std::optional<ScoresById> read_scores(const std::string& run_folder, const std::string& task) {
    std::string path = run_folder + "/samples/" + replace_all(task, "/", ".") + ".jsonl";
    if (!exists(path)) return std::nullopt;
    ScoresById scores;
    for_each_line(path, [&](size_t, std::string_view text) {
        nlohmann::json line = nlohmann::json::parse(text, nullptr, false);
        if (!line.is_object() || !line.contains("id")) return;
        std::string id = line["id"].is_string() ? line["id"].get<std::string>() : line["id"].dump();
        if (line.contains("score") && line["score"].is_number())
            scores[id] = line["score"].get<double>();
        else if (line.contains("correct") && line["correct"].is_boolean())
            scores[id] = line["correct"].get<bool>() ? 1 : 0;
    });
    return scores;
}

PairedTask compare_scores(const std::string& task, const std::vector<ScoresById>& all_a,
                          const std::vector<ScoresById>& all_b) {
    PairedTask out;
    out.task = task;
    std::vector<double> a, b, differences;
    for (size_t run = 0; run < std::min(all_a.size(), all_b.size()); ++run) {
        int64_t shared = 0;
        for (const auto& [id, score] : all_a[run]) {
            auto other = all_b[run].find(id);
            if (other == all_b[run].end()) continue;
            a.push_back(score);
            b.push_back(other->second);
            differences.push_back(other->second - score);
            ++shared;
            out.binary =
                out.binary && (score == 0 || score == 1) && (other->second == 0 || other->second == 1);
            out.discordance += score != other->second;
        }
        out.only_a += static_cast<int64_t>(all_a[run].size()) - shared;
        out.only_b += static_cast<int64_t>(all_b[run].size()) - shared;
    }
    out.n = static_cast<int64_t>(a.size());
    if (out.n == 0) return out;
    double n = static_cast<double>(out.n), variance = 0;
    out.discordance /= n;
    out.mean_a = mean_of(a);
    out.mean_b = mean_of(b);
    out.difference = mean_of(differences);
    for (double difference : differences)
        variance += (difference - out.difference) * (difference - out.difference);
    variance /= std::max(1.0, n - 1);
    out.standard_error = std::sqrt(variance / n);
    PairedBootstrap bootstrap = paired_bootstrap(b, a, kResamples);
    out.interval = bootstrap.interval;
    out.p = bootstrap.p;
    out.effect = variance > 0 ? out.difference / std::sqrt(variance) : 0;
    out.resolvable = minimum_detectable_difference(out.n, out.discordance);
    if (out.binary) {
        out.mcnemar = mcnemar(a, b);
        out.p = out.mcnemar.p_exact;
        out.effect = cohen_h(out.mean_a, out.mean_b);
    }
    return out;
}

void adjust(std::vector<PairedTask>& tasks) {
    std::vector<double> p;
    for (const PairedTask& task : tasks) p.push_back(task.p);
    p = holm(p);
    for (size_t i = 0; i < tasks.size(); ++i) tasks[i].p_adjusted = p[i];
}

} // namespace dorabench
