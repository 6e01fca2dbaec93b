#include "harness/compare/samples.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

constexpr char kBetween = '\x1f', kAfter = '\x1e';

std::string text_of(const json& line, const char* key) {
    auto at = line.find(key);
    if (at == line.end() || at->is_null()) return "";
    return at->is_string() ? at->get<std::string>()
                           : at->dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<double> score_of(const json& line) {
    auto score = line.find("score"), correct = line.find("correct");
    std::optional<double> out;
    if (score != line.end() && score->is_number()) out = score->get<double>();
    if (correct != line.end() && correct->is_boolean()) {
        double as_score = correct->get<bool>() ? 1 : 0;
        out = out ? std::min(*out, as_score) : as_score;
    }
    if (out && !std::isfinite(*out)) return std::nullopt;
    return out;
}

struct Asked {
    std::string prompt, target, length;
};

} // namespace

bool SampleSet::binary() const {
    return std::all_of(items.begin(), items.end(),
                       [](const auto& item) { return item.second.score == 0 || item.second.score == 1; });
}

int64_t SampleSet::unparsed() const {
    return std::count_if(items.begin(), items.end(), [](const auto& item) { return !item.second.parsed; });
}

double SampleSet::mean() const {
    double sum = 0;
    for (const auto& [id, item] : items) sum += item.score;
    return items.empty() ? 0 : sum / static_cast<double>(items.size());
}

// The evaluator names the file after the task's short name as configured, or after its long name.
std::string samples_file(const std::string& run_folder, const std::string& task) {
    std::string folder = run_folder + "/samples/";
    for (const std::string& name : {replace_all(task, "/", "."), std::filesystem::path(task).stem().string()})
        if (!name.empty() && exists(folder + name + ".jsonl")) return folder + name + ".jsonl";
    return "";
}

std::optional<SampleSet> read_samples(const std::string& run_folder, const std::string& task) {
    std::string path = samples_file(run_folder, task);
    if (path.empty()) return std::nullopt;
    SampleSet out;
    std::map<std::string, Asked> asked;
    for_each_line(path, [&](size_t, std::string_view text) {
        json line = json::parse(text, nullptr, false);
        std::optional<double> score = line.is_object() ? score_of(line) : std::nullopt;
        if (!score || !line.contains("id")) {
            ++out.damaged;
            return;
        }
        std::string id = text_of(line, "id");
        Asked& question = asked[id];
        question = {text_of(line, "prompt"), text_of(line, "target"), text_of(line, "prompt_tokens")};
        auto parsed = line.find("parsed");
        out.items[id] = {*score, parsed == line.end() || !parsed->is_boolean() || parsed->get<bool>(),
                         question.prompt.empty() ? "" : sha256_hex(question.prompt).substr(0, 16)};
    });
    std::string ids, prompts, targets, lengths;
    bool has_lengths = !asked.empty();
    for (const auto& [id, question] : asked) {
        ids += id + kAfter;
        prompts += id + kBetween + question.prompt + kAfter;
        targets += id + kBetween + question.target + kAfter;
        lengths += id + kBetween + question.length + kAfter;
        has_lengths = has_lengths && !question.length.empty();
    }
    out.ids_hash = sha256_hex(ids);
    out.prompt_hash = sha256_hex(prompts);
    out.target_hash = sha256_hex(targets);
    if (has_lengths) out.lengths_hash = sha256_hex(lengths);
    return out;
}

json run_json(const RunRecord& run, const std::string& file) {
    std::string path = run.path + "/" + file;
    if (!exists(path)) return json::object();
    try {
        json out = json::parse(read_file(path, size_t(256) << 20), nullptr, false);
        return out.is_object() ? out : json::object();
    } catch (const Error&) {
        return json::object();
    }
}

std::string method_label(const RunRecord& run) {
    bool ranked = run.rank > 0 && run.method != "ft" && run.method != "none";
    return cat(run.method, ranked ? cat(" r", run.rank) : "");
}

std::string setting(const RunRecord& run, const std::string& key) {
    auto at = run.settings.find(key);
    return at == run.settings.end() ? "" : at->second;
}

} // namespace dorabench
