// Values of a whole test set, and VALUE's submission files.
#include "harness/base/error.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "tasks/media_task.h"
#include "tasks/metrics/accuracy.h"
#include "tasks/metrics/caption.h"
#include "tasks/metrics/statistics.h"
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {

namespace {

using nlohmann::json;
using Json = nlohmann::ordered_json; // the original's order of keys

Measurement missing_value() {
    Measurement out;
    out.missing = true;
    return out;
}

std::string field(const Example& example, const std::string& name) {
    const auto found = example.fields.find(name);
    return found == example.fields.end() ? "" : found->second;
}

bool is_hidden(const Example& example) {
    return example.target.empty() && field(example, "task.references") == "[]";
}

// accuracy by a field of the record: "answer_type.yes/no"
void add_by_field(const std::vector<Example>& examples, const std::vector<Score>& scores,
                  const std::string& name, const std::string& shown,
                  std::map<std::string, Measurement>& out) {
    std::map<std::string, std::vector<double>> groups;
    for (size_t i = 0; i < examples.size(); ++i)
        if (const std::string value = field(examples[i], name); !value.empty())
            groups[value].push_back(scores[i].score);
    for (const auto& [value, values] : groups) out[shown + "." + value] = mean_measurement(values);
}

// The share of sentences that are right for every pair of images they were written for:
// split-set-pair-sentence.
Measurement consistency(const std::vector<Example>& examples, const std::vector<Score>& scores) {
    std::map<std::string, double> groups;
    for (size_t i = 0; i < examples.size(); ++i) {
        const auto parts = split(examples[i].id, '-');
        if (parts.size() != 4)
            throw Error::data("NLVR2: identifier split-set-pair-sentence expected, got \"", examples[i].id,
                              "\"");
        auto [group, added] = groups.emplace(parts[0] + "-" + parts[1] + "-" + parts[3], 1);
        if (scores[i].score != 1) group->second = 0;
    }
    std::vector<double> values;
    for (const auto& [name, value] : groups) values.push_back(value);
    return mean_measurement(values);
}

MetricValues caption_scores(const TaskSpec& spec, const std::vector<Example>& examples,
                            const std::vector<Score>& scores) {
    const bool value_form = spec.kind == TaskKind::video_caption;
    auto shown = [&](const std::string& text) { return value_form ? ascii_only(text) : text; };
    CaptionCorpus corpus;
    for (size_t i = 0; i < examples.size(); ++i) {
        corpus.ids.push_back(examples[i].id);
        corpus.candidates.push_back(shown(scores[i].prediction));
        std::vector<std::string> references;
        for (const json& text : json::parse(field(examples[i], "task.references")))
            references.push_back(shown(text.get<std::string>()));
        corpus.references.push_back(std::move(references));
    }
    auto wanted = [&](const char* name) {
        return std::any_of(spec.metrics.begin(), spec.metrics.end(),
                           [&](const std::string& metric) { return starts_with(metric, name); });
    };
    return caption_values(tokenize_captions(corpus), {}, wanted("meteor"), wanted("spice"));
}

// The original's rule: the integer of the answer's second character, else 0.
int64_t submitted_index(const std::string& text) {
    return text.size() > 1 && text[1] >= '0' && text[1] <= '9' ? text[1] - '0' : 0;
}

} // namespace

TaskResult MediaTask::aggregate(const std::vector<Example>& examples,
                                const std::vector<Score>& scores) const {
    if (examples.size() != scores.size())
        throw Error::internal(spec_.name, ": expected as many scores as examples (", examples.size(),
                              "), got ", scores.size());
    TaskResult out;
    out.n = static_cast<int64_t>(examples.size());
    out.primary = spec_.metrics.front();
    const bool hidden = std::any_of(examples.begin(), examples.end(), is_hidden);
    if (hidden) { // a test split whose answers only the benchmark's server knows
        log::warning(spec_.name,
                     ": the answers of this split are hidden; the submission file is all there is");
        for (const Score& score : scores) out.unparsed += !score.parsed;
        out.metrics[out.primary] = missing_value();
        return out;
    }
    if (has_captions()) {
        const MetricValues values = caption_scores(spec_, examples, scores);
        for (const std::string& name : spec_.metrics)
            if (const auto found = values.find(name); found != values.end())
                out.metrics[name] = found->second;
        if (!out.metrics.count(out.primary)) out.metrics[out.primary] = missing_value();
        return out;
    }
    const Accuracy measured = accuracy(scores);
    out.unparsed = measured.unparsed;
    for (const std::string& name : spec_.metrics) {
        if (name == "accuracy") out.metrics[name] = measured.all;
        if (name == "accuracy_parsed") out.metrics[name] = measured.parsed;
        if (name == "accuracy_official") out.metrics[name] = mean_of_value(scores, name);
        if (name == "consistency") out.metrics[name] = consistency(examples, scores);
        if (name == "by_answer_type")
            add_by_field(examples, scores, "answer_type", "answer_type", out.metrics);
        if (name == "by_question_type")
            add_by_field(examples, scores, "question_type", "question_type", out.metrics);
        if (name == "by_topk") add_by_field(examples, scores, "is_topk_optimal", "topk_optimal", out.metrics);
    }
    if (spec_.kind == TaskKind::nlvr2) out.chance = 0.5;
    if (spec_.kind == TaskKind::video_qa) out.chance = 1.0 / static_cast<double>(spec_.media->choices);
    if (spec_.chance) out.chance = *spec_.chance;
    out.has_chance = out.chance > 0 || spec_.chance.has_value();
    return out;
}

std::map<std::string, std::string> MediaTask::submissions(const std::vector<Example>& examples,
                                                          const std::vector<Score>& scores) const {
    const MediaSpec& media = *spec_.media;
    if (media.submission.empty()) return {};
    auto dumped = [](const Json& value) { return value.dump(-1, ' ', true, Json::error_handler_t::replace); };
    if (spec_.kind == TaskKind::video_qa) {
        Json answers = Json::object();
        for (size_t i = 0; i < examples.size(); ++i)
            answers[examples[i].id] = submitted_index(scores[i].raw_output);
        return {{media.submission, dumped(answers)}};
    }
    std::string lines;
    for (size_t i = 0; i < examples.size(); ++i) {
        Json line = {{media.video_key, field(examples[i], "vid_name")}};
        line["clip_id"] = Json::parse(field(examples[i], "clip_id_json"));
        if (const std::string ts = field(examples[i], "ts_json"); !ts.empty()) line["ts"] = Json::parse(ts);
        line["descs"] = Json::array({{{"desc", scores[i].prediction}}});
        lines += dumped(line) + "\n";
    }
    return {{media.submission, lines}};
}

} // namespace dorabench
