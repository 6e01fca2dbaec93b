#include "harness/report/published.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <yaml-cpp/yaml.h>

namespace dorabench {
namespace {

using Names = std::vector<std::string>;

template <typename T>
std::optional<T> optional_of(const YAML::Node& node) {
    if (!node || node.IsNull()) return std::nullopt;
    return node.as<T>();
}

Names names_of(const YAML::Node& node) { return node ? node.as<Names>() : Names(); }

PublishedRow read_row(const YAML::Node& file, const YAML::Node& node) {
    PublishedRow row;
    row.source = file["source"].as<std::string>();
    row.table = node["table"] ? node["table"].as<std::string>() : file["table"].as<std::string>();
    row.backbone = node["backbone"].as<std::string>();
    row.method = node["method"].as<std::string>();
    row.note = node["note"].as<std::string>("");
    row.rank = optional_of<int64_t>(node["rank"]);
    row.targets = names_of(node["targets"] ? node["targets"] : file["targets"]);
    row.magnitudes = names_of(node["magnitudes"]);
    row.train_also = names_of(node["train_also"] ? node["train_also"] : file["train_also"]);
    row.base = optional_of<int64_t>(node["base"] ? node["base"] : file["base"]);
    row.params_percent = optional_of<double>(node["params_percent"]);
    row.learning_rate = optional_of<double>(node["learning_rate"]);
    row.average = optional_of<double>(node["average"]);
    if (!node["scores"]) return row;
    auto columns = file["columns"].as<Names>();
    auto scores = node["scores"].as<std::vector<double>>();
    if (scores.size() != columns.size())
        throw Error::data("row ", row.backbone, " ", row.method, ": expected ", columns.size(),
                          " scores, got ", scores.size());
    for (size_t i = 0; i < columns.size(); ++i) row.scores[columns[i]] = scores[i];
    return row;
}

std::set<std::string> as_set(const Names& names) { return {names.begin(), names.end()}; }

double half_up(double percent) { return std::floor(percent * 100 + 0.5) / 100; }
bool same_figure(double a, double b) { return std::abs(a - b) < 0.005; }

} // namespace

std::vector<PublishedRow> read_published(const std::string& folder) {
    std::vector<std::string> files;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
        if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    std::vector<PublishedRow> out;
    for (const std::string& file : files) {
        try {
            YAML::Node root = YAML::Load(read_file(file, size_t(16) << 20));
            if (!root["columns"]) continue; // a regression baseline, not a paper's table
            for (const YAML::Node& row : root["rows"]) out.push_back(read_row(root, row));
        } catch (const std::exception& error) {
            throw Error::data(file,
                              ": expected published figures (source, table, columns, rows): ", error.what());
        }
    }
    return out;
}

std::string canonical_backbone(const std::string& name) {
    std::string out = lower(name.substr(name.find_last_of('/') + 1));
    if (starts_with(out, "meta-")) out = out.substr(5);
    if (ends_with(out, "-hf")) out = out.substr(0, out.size() - 3);
    std::replace(out.begin(), out.end(), '_', '-');
    if (starts_with(out, "llava-v")) out = "llava-" + out.substr(7); // llava-v1.5-7b → llava-1.5-7b
    if (starts_with(out, "llama-") && out.size() > 7 && out[6] >= '1' && out[6] <= '9' &&
        (out[7] == '-' || out[7] == '.'))
        out = "llama" + out.substr(6); // llama-2-7b → llama2-7b; llama-7b stays
    return out;
}

std::vector<PublishedRow> published(const std::vector<PublishedRow>& rows, const std::string& backbone,
                                    const std::string& method, int64_t rank, const Names& targets,
                                    const Names& magnitudes) {
    std::vector<PublishedRow> out;
    std::string wanted = canonical_backbone(backbone);
    for (const PublishedRow& row : rows) {
        if (canonical_backbone(row.backbone) != wanted || row.method != method || row.rank != rank) continue;
        bool stated = !targets.empty() && !row.targets.empty();
        if (stated &&
            (as_set(row.targets) != as_set(targets) || as_set(row.magnitudes) != as_set(magnitudes)))
            continue;
        out.push_back(row);
    }
    return out;
}

double printed_percent(int64_t trainable, int64_t total) {
    return total > 0 ? half_up(100.0 * static_cast<double>(trainable) / static_cast<double>(total)) : 0;
}

std::string percent_verdict(int64_t trainable, int64_t total, int64_t base, double published_percent) {
    double ours = printed_percent(trainable, total);
    if (same_figure(ours, published_percent)) return "matches";
    double exact = total > 0 ? 100.0 * static_cast<double>(trainable) / static_cast<double>(total) : 0;
    std::string out =
        cat("differs: ", fixed(ours, 2), " here (all parameters, adapter included; rounded half up), ",
            fixed(published_percent, 2), " published; ");
    if (same_figure(std::floor(exact * 100) / 100, published_percent))
        return out + "truncation instead of rounding gives it";
    if (same_figure(printed_percent(trainable, base), published_percent))
        return out + "the base alone as denominator gives it";
    return out + "neither truncation nor the base alone as denominator gives it";
}

} // namespace dorabench
