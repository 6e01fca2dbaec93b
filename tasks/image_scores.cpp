// Values of a whole set of questions about pictures, and the files that the benchmarks' servers take.
#include "harness/base/error.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "tasks/image_task.h"
#include "tasks/media_items.h"
#include "tasks/metrics/accuracy.h"
#include "tasks/metrics/mmbench.h"
#include "tasks/metrics/pope.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/statistics.h"
#include "tasks/metrics/vqa_normalise.h"
#include "tasks/metrics/words.h"
#include "tasks/sheet.h"
#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace dorabench {
namespace {

using nlohmann::json;
using Json = nlohmann::ordered_json; // the original's order of keys

std::string field(const Example& example, const std::string& name) {
    const auto found = example.fields.find(name);
    return found == example.fields.end() ? "" : found->second;
}

std::string dumped(const Json& value) { return value.dump(-1, ' ', true, Json::error_handler_t::replace); }

// An id as the original has it: a number where it is one.
Json id_json(const std::string& id) {
    const bool number = !id.empty() && id.size() < 19 &&
                        id.find_first_not_of("0123456789") == std::string::npos &&
                        (id.size() == 1 || id[0] != '0');
    return number ? Json(std::stoll(id)) : Json(id);
}

using Chosen = std::function<std::string(const Example&)>; // the group an example belongs to; "": none

void add_groups(const std::vector<Example>& examples, const std::vector<Score>& scores,
                const std::string& prefix, const Chosen& group, std::map<std::string, Measurement>& out) {
    std::map<std::string, std::vector<double>> groups;
    for (size_t i = 0; i < examples.size(); ++i)
        if (const std::string name = group(examples[i]); !name.empty())
            groups[name].push_back(scores[i].score);
    for (const auto& [name, values] : groups) out[prefix + name] = mean_measurement(values);
}

MetricValues pope_of(const std::vector<Example>& examples, const std::vector<Score>& scores) {
    std::map<std::string, std::vector<PopeItem>> splits;
    for (size_t i = 0; i < examples.size(); ++i)
        splits[field(examples[i], "category")].push_back(
            {examples[i].target == "yes", scores[i].prediction == "yes"});
    return pope_values(splits);
}

MetricValues mmbench_of(const std::vector<Example>& examples, const std::vector<Score>& scores) {
    std::vector<MmbenchAnswer> answers;
    for (size_t i = 0; i < examples.size(); ++i)
        answers.push_back({mmbench_index(examples[i].id, examples[i].id), scores[i].score == 1,
                           field(examples[i], "category"), field(examples[i], "l2-category")});
    return mmbench_values(answers, "MMBench");
}

// The workbook that MMBench's server takes: the table's columns without the picture and what describes the
// question, and the answer as the model wrote it.
std::string mmbench_sheet(const std::vector<Example>& examples, const std::vector<Score>& scores) {
    std::vector<std::string> columns{"index", "question", "A", "B", "C", "D", "prediction"};
    for (const char* further : {"answer", "split"})
        if (std::any_of(examples.begin(), examples.end(),
                        [&](const Example& e) { return !field(e, further).empty(); }))
            columns.push_back(further);
    std::vector<std::vector<std::string>> rows;
    for (size_t i = 0; i < examples.size(); ++i) {
        std::vector<std::string> cells;
        for (const std::string& column : columns) {
            const std::string cell = column == "index"        ? examples[i].id
                                     : column == "prediction" ? strip_white_space(scores[i].raw_output)
                                                              : field(examples[i], column);
            cells.push_back(
                json::parse(dumped(cell)).get<std::string>()); // whatever was no UTF-8 is replaced
        }
        rows.push_back(std::move(cells));
    }
    return excel_sheet(columns, rows);
}

} // namespace

TaskResult ImageTask::aggregate(const std::vector<Example>& examples,
                                const std::vector<Score>& scores) const {
    if (examples.size() != scores.size())
        throw Error::internal(spec_.name, ": expected as many scores as examples (", examples.size(),
                              "), got ", scores.size());
    TaskResult out;
    out.n = static_cast<int64_t>(examples.size());
    out.primary = spec_.metrics.front();
    const Accuracy measured = accuracy(scores);
    out.unparsed = measured.unparsed;
    if (std::any_of(examples.begin(), examples.end(), [&](const Example& e) { return is_hidden(e); })) {
        log::warning(spec_.name, ": the answers of these questions are not at hand; ",
                     spec_.media->submission.empty() ? "the samples are all there is"
                                                     : "the submission file is all there is");
        out.metrics[out.primary].missing = true;
        return out;
    }
    const std::string& rule = spec_.media->scoring;
    MetricValues values;
    if (rule == "pope") values = pope_of(examples, scores);
    if (rule == "mmbench") values = mmbench_of(examples, scores);
    for (const std::string& name : spec_.metrics) {
        auto by = [&](const std::string& prefix, const Chosen& group) {
            add_groups(examples, scores, prefix, group, out.metrics);
        };
        if (const auto found = values.find(name); found != values.end())
            out.metrics[name] = found->second;
        else if (name == "accuracy")
            out.metrics[name] = measured.all;
        if (name == "accuracy_parsed") out.metrics[name] = measured.parsed;
        if (name == "by_answer_type")
            by("answer_type.", [](const Example& e) { return field(e, "answer_type"); });
        if (name == "by_question_type")
            by("question_type.", [](const Example& e) { return field(e, "question_type"); });
        if (name == "image_accuracy")
            by("",
               [](const Example& e) { return std::string(e.media.images.empty() ? "" : "image_accuracy"); });
        if (name == "open" || name == "binary")
            by("", [&](const Example& e) {
                const std::string type = field(e, "structural");
                return type.empty() || (type == "query") != (name == "open") ? std::string() : name;
            });
        if (name == "by_category") // POPE's splits with all their values, MMBench's categories
            for (const auto& [key, value] : values)
                if (key.find('.') != std::string::npos) out.metrics[key] = value;
        if (!starts_with(name, "by_") && !out.metrics.count(name)) out.metrics[name].missing = true;
    }
    double chance = 0;
    for (const Example& example : examples)
        if (const std::string options = field(example, "task.options"); !options.empty())
            chance += 1.0 / static_cast<double>(json::parse(options).size());
    out.chance = rule == "mmbench" ? 0 : chance / static_cast<double>(examples.size());
    if (spec_.chance) out.chance = *spec_.chance;
    out.has_chance = out.chance > 0;
    return out;
}

std::map<std::string, std::string> ImageTask::submissions(const std::vector<Example>& examples,
                                                          const std::vector<Score>& scores) const {
    const MediaSpec& media = *spec_.media;
    if (media.submission.empty()) return {};
    if (media.submission_form == "mmbench") return {{media.submission, mmbench_sheet(examples, scores)}};
    Json lines = Json::array();
    std::unordered_map<std::string, size_t> asked;
    for (size_t i = 0; i < examples.size(); ++i) {
        const std::string answer = vqa_normalise_m4c(scores[i].prediction);
        if (media.submission_form == "vizwiz") {
            lines.push_back({{"image", field(examples[i], "image")}, {"answer", answer}});
            continue;
        }
        lines.push_back({{"question_id", id_json(examples[i].id)}, {"answer", answer}});
        asked.emplace(examples[i].id, i);
    }
    for (const std::string& file :
         files_of(media.all_questions)) { // LLaVA's lines, or the official questions
        const json root = read_json(file);
        const Record whole(root, file);
        for (const Record& record :
             root.is_object() && whole.has("questions") ? whole.list("questions") : whole.items())
            if (const std::string id = record.id("question_id"); asked.emplace(id, asked.size()).second)
                lines.push_back({{"question_id", id_json(id)}, {"answer", ""}});
    }
    return {{media.submission, dumped(lines)}};
}

} // namespace dorabench
