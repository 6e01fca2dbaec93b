// Video question answering as the VALUE benchmark scores it. references: TVQA's {"solution": {show:
// {question: index}}}, or How2QA's JSON lines {"qid", "answer_idx"}; predictions: {question: index}.
#include "harness/base/error.h"
#include "tasks/metrics/metric.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/statistics.h"

namespace dorabench {

MetricValues video_qa_metric(const std::string& references, const std::string& predictions) {
    const nlohmann::json reference_json = read_json(references), prediction_json = read_json(predictions);
    const Record root(reference_json, references);
    std::unordered_map<std::string, int64_t> answers;
    Record(prediction_json, predictions).for_each_member([&](const std::string& id, const Record& answer) {
        answers[id] = answer.as_whole();
    });
    std::vector<std::string> ids;
    std::map<std::string, std::vector<double>> scores;
    std::unordered_map<std::string, bool> seen;
    auto add = [&](const std::string& id, int64_t gold, const std::string& group, const std::string& place) {
        if (!seen.emplace(id, true).second)
            throw Error::data(place, ": one answer a question expected, ", id, " stands here a second time");
        ids.push_back(id);
        auto found = answers.find(id);
        double right = found != answers.end() && found->second == gold;
        scores["accuracy"].push_back(right);
        if (!group.empty()) scores[group].push_back(right);
    };
    if (root.value().is_object() && root.has("solution")) {
        root.at("solution").for_each_member([&](const std::string& show, const Record& questions) {
            questions.for_each_member([&](const std::string& id, const Record& answer) {
                add(id, answer.as_whole(), "show." + show, answer.place());
            });
        });
    } else {
        const auto records = root.value().is_array() ? root.items() : std::vector<Record>{root};
        for (const Record& record : records)
            add(record.id("qid"), record.whole("answer_idx"), "", record.place());
    }
    if (ids.empty()) throw Error::data(references, ": questions expected, there are none");
    expect_same_ids(ids, references, answers, predictions);
    MetricValues out;
    for (const auto& [name, values] : scores) out[name] = mean_measurement(values);
    return out;
}

} // namespace dorabench
