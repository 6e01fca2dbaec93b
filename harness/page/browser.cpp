#include "harness/page/browser.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/compare/samples.h"
#include "harness/page/thumbnail.h"
#include <algorithm>
#include <cmath>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;

struct Item {
    std::string scores;         // a character a column
    std::vector<double> values; // where a score is neither 0 nor 1
    bool between = false;
};

char letter_of(const ItemScore& answer) {
    if (!answer.parsed) return 'u';
    if (answer.score == 1) return '1';
    return answer.score == 0 ? '0' : 'v';
}

std::map<std::string, Item> items_of(const std::vector<const RunRecord*>& runs, const std::string& task) {
    std::map<std::string, Item> items;
    for (size_t column = 0; column < runs.size(); ++column) {
        auto samples = read_samples(runs[column]->path, task);
        if (!samples) continue;
        for (const auto& [id, answer] : samples->items) {
            Item& item = items[id];
            if (item.scores.empty()) {
                item.scores.assign(runs.size(), '-');
                item.values.assign(runs.size(), 0);
            }
            item.scores[column] = letter_of(answer);
            item.values[column] = answer.score;
            item.between = item.between || item.scores[column] == 'v';
        }
    }
    return items;
}

bool disagree(const Item& item) {
    const double* first = nullptr;
    for (size_t column = 0; column < item.scores.size(); ++column) {
        if (item.scores[column] == '-') continue;
        if (first && *first != item.values[column]) return true;
        first = &item.values[column];
    }
    return false;
}

// Cut at a character's beginning: UTF-8's continuation bytes are 10xxxxxx.
std::string cut(std::string text, size_t most) {
    if (text.size() <= most) return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
    return text.substr(0, most) + "…";
}

std::string text_of(const json& line, const char* key) {
    auto at = line.find(key);
    if (at == line.end() || at->is_null()) return "";
    return at->is_string() ? at->get<std::string>()
                           : at->dump(-1, ' ', false, json::error_handler_t::replace);
}

// The id without parsing the line, so that items that aren't shown cost little; "" when only parsing tells
// it.
std::string_view quick_id(std::string_view line) {
    constexpr std::string_view key = "\"id\":\"";
    size_t at = line.find(key);
    if (at == std::string_view::npos) return {};
    std::string_view rest = line.substr(at + key.size());
    size_t end = rest.find_first_of("\"\\");
    return end == std::string_view::npos || rest[end] == '\\' ? std::string_view() : rest.substr(0, end);
}

} // namespace

json SampleBrowser::thumbnails_of(const json& media) {
    json out = json::array();
    if (!media.is_object()) return out;
    std::vector<std::string> images;
    if (auto listed = media.find("images"); listed != media.end() && listed->is_array())
        for (const json& image : *listed)
            if (image.is_string()) images.push_back(image.get<std::string>());
    std::string video = text_of(media, "video");
    if (thumbnails_ + images.size() + (video.empty() ? 0 : 3) > limits_.thumbnails) return out;
    for (const std::string& uri : thumbnails(images, video)) {
        out.push_back(uri);
        ++thumbnails_;
    }
    return out;
}

json SampleBrowser::task_of(const std::string& task, const std::vector<const RunRecord*>& runs,
                            const std::vector<std::string>& labels) {
    std::map<std::string, Item> items = items_of(runs, task);
    std::vector<std::string> agreeing;
    std::map<std::string, json> chosen;
    for (const auto& [id, item] : items) {
        if (disagree(item))
            chosen[id] = json::object();
        else
            agreeing.push_back(id);
    }
    size_t kept = std::min(limits_.agreeing, agreeing.size());
    for (size_t i = 0; i < kept; ++i) chosen[agreeing[i * agreeing.size() / kept]] = json::object();

    std::map<std::string, std::map<std::pair<std::string, std::string>, size_t>> texts;
    std::set<std::string> without_text;
    for (size_t column = 0; column < runs.size(); ++column) {
        std::string path = samples_file(runs[column]->path, task);
        if (path.empty()) continue;
        for_each_line(path, [&](size_t, std::string_view text) {
            std::string_view quick = quick_id(text);
            if (!quick.empty() && !chosen.count(std::string(quick))) return;
            json line = json::parse(text, nullptr, false);
            if (!line.is_object() || !line.contains("id")) return;
            auto at = chosen.find(text_of(line, "id"));
            if (at == chosen.end() || without_text.count(at->first)) return;
            json& item = at->second;
            if (!item.contains("p")) {
                if (text_bytes_ >= limits_.text_bytes) {
                    without_text.insert(at->first);
                    return;
                }
                item["p"] = cut(text_of(line, "prompt"), limits_.prompt_characters);
                item["g"] = cut(text_of(line, "target"), limits_.answer_characters);
                text_bytes_ += item["p"].get_ref<const std::string&>().size();
                item["a"] = std::vector<int>(runs.size(), -1);
                item["t"] = json::array();
                if (json pictures = thumbnails_of(line.value("media", json())); !pictures.empty())
                    item["m"] = pictures;
            }
            std::pair<std::string, std::string> answer = {
                cut(text_of(line, "prediction"), limits_.answer_characters),
                cut(text_of(line, "raw_output"), limits_.answer_characters)};
            auto [place, fresh] = texts[at->first].emplace(answer, item["t"].size());
            if (fresh) {
                item["t"].push_back({answer.first, answer.second});
                text_bytes_ += answer.first.size() + answer.second.size();
            }
            item["a"][column] = place->second;
        });
    }
    json columns = json::array(), shown = json::array();
    for (size_t column = 0; column < runs.size(); ++column)
        columns.push_back(
            {{"label", labels[column]}, {"run", runs[column]->id}, {"seed", runs[column]->seed}});
    for (auto& [id, item] : chosen) {
        const Item& scored = items.at(id);
        item["id"] = id;
        item["s"] = scored.scores;
        if (scored.between) item["v"] = scored.values;
        shown.push_back(std::move(item));
    }
    return {{"task", task},
            {"columns", columns},
            {"items", shown},
            {"left_out", {{"agreeing", agreeing.size() - kept}, {"texts", without_text.size()}}}};
}

json SampleBrowser::tasks_of(const Comparison& comparison, const std::vector<RunRecord>& records) {
    std::map<std::string, const RunRecord*> by_id;
    for (const RunRecord& record : records) by_id[record.id] = &record;
    json out = json::array();
    for (const std::string& task : comparison.tasks) {
        std::vector<const RunRecord*> runs;
        std::vector<std::string> labels;
        for (const MethodRow& row : comparison.rows) {
            if (!row.tasks.count(task)) continue;
            size_t first =
                static_cast<size_t>(std::min_element(row.seeds.begin(), row.seeds.end()) - row.seeds.begin());
            runs.push_back(by_id.at(row.runs[first]));
            labels.push_back(
                cat(method_label(*runs.back()), row.label.empty() ? "" : cat(" [", row.label, "]")));
        }
        out.push_back(task_of(task, runs, labels));
        out.back()["backbone"] = comparison.backbone;
    }
    return out;
}

} // namespace dorabench
