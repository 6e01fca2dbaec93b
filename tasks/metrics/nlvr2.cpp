// NLVR2 (Suhr et al. 2019), after lil-lab/nlvr's metrics.py. references: JSON lines {"identifier":
// "split-set-pair-sentence", "label"}; predictions: lines `identifier,True` (any case). Consistency: the
// share of sentences that are right for every image pair they were written for.
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/metrics/metric.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/statistics.h"

namespace dorabench {

namespace {

std::string truth_value(const std::string& text, const std::string& place) {
    std::string value = lower(trim(text));
    if (value != "true" && value != "false")
        throw Error::data(place, ": True or False expected, got \"", text, "\"");
    return value;
}

Texts read_predictions(const std::string& path) {
    Texts out;
    for_each_line(path, [&](size_t number, std::string_view line) {
        std::string text = trim(line);
        if (text.empty()) return;
        std::string place = cat(path, ", line ", number);
        size_t comma = text.find(',');
        if (comma == std::string::npos)
            throw Error::data(place, ": identifier,True or identifier,False expected, got \"",
                              text.substr(0, 60), "\"");
        if (!out.emplace(text.substr(0, comma), truth_value(text.substr(comma + 1), place)).second)
            throw Error::data(place, ": one prediction an identifier expected, ", text.substr(0, comma),
                              " has two");
    });
    return out;
}

} // namespace

MetricValues nlvr2_metric(const std::string& references, const std::string& predictions) {
    const nlohmann::json json = read_json(references);
    const Texts answers = read_predictions(predictions);
    std::vector<std::string> ids;
    std::vector<double> right;
    std::map<std::string, double> groups;
    for (const Record& record : Record(json, references).items()) {
        ids.push_back(record.text("identifier"));
        auto parts = split(ids.back(), '-');
        if (parts.size() != 4)
            throw Error::data(record.place(), ": identifier split-set-pair-sentence expected, got \"",
                              ids.back(), "\"");
        auto found = answers.find(ids.back());
        std::string label = truth_value(record.text("label"), record.place());
        right.push_back(found != answers.end() && found->second == label);
        auto [group, added] = groups.emplace(parts[0] + "-" + parts[1] + "-" + parts[3], 1);
        if (right.back() == 0) group->second = 0;
    }
    if (ids.empty()) throw Error::data(references, ": examples expected, there are none");
    expect_same_ids(ids, references, answers, predictions);
    std::vector<double> consistent;
    for (const auto& [name, value] : groups) consistent.push_back(value);
    return {{"accuracy", mean_measurement(right)}, {"consistency", mean_measurement(consistent)}};
}

} // namespace dorabench
