#include "tasks/metrics/vqa.h"

#include "harness/base/error.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/statistics.h"
#include "tasks/metrics/vqa_normalise.h"
#include <algorithm>

namespace dorabench {

namespace {

double leave_one_out(const std::string& prediction, const std::vector<std::string>& answers) {
    if (answers.empty()) return 0;
    auto matches = static_cast<double>(std::count(answers.begin(), answers.end(), prediction));
    double sum = 0;
    for (const std::string& answer : answers)
        sum += std::min(1.0, (matches - (answer == prediction ? 1 : 0)) / 3);
    return sum / static_cast<double>(answers.size());
}

std::vector<std::string> answers_of(const Record& question) {
    std::vector<std::string> out;
    for (const Record& answer : question.list("answers"))
        out.push_back(answer.value().is_string() ? answer.as_text() : answer.text("answer"));
    if (out.empty()) throw Error::data(question.place(), ": at least one answer expected, got none");
    return out;
}

} // namespace

double vqa_score(const std::string& prediction, const std::vector<std::string>& answers, VqaRule rule) {
    std::vector<std::string> golds;
    for (const std::string& answer : answers)
        golds.push_back(rule == VqaRule::m4c ? answer : vqa_trim(answer));
    const bool differ = std::adjacent_find(golds.begin(), golds.end(), std::not_equal_to<>()) != golds.end();
    std::string text = vqa_trim(prediction);
    if (rule == VqaRule::m4c) {
        text = vqa_normalise_m4c(prediction);
        for (std::string& gold : golds) gold = vqa_normalise_m4c(gold);
    } else if (rule == VqaRule::vlt5) {
        text = vqa_normalise(text);
        if (differ)
            for (std::string& gold : golds) gold = vqa_punctuation(gold);
    } else if (differ) {
        text = vqa_normalise(text);
        for (std::string& gold : golds) gold = vqa_normalise(gold);
    }
    return leave_one_out(text, golds);
}

MetricValues vqa_metric(const std::string& references, const std::string& predictions, VqaRule rule) {
    const nlohmann::json reference_json = read_json(references), prediction_json = read_json(predictions);
    const Record root(reference_json, references);
    const Texts answers =
        texts_by_id({prediction_json, predictions}, {"question_id", "image"}, {"answer", "text"});
    std::vector<std::string> ids;
    std::map<std::string, std::vector<double>> scores; // by the value's name
    const auto questions = root.value().is_array() ? root.items() : root.list("annotations");
    for (const Record& question : questions) {
        std::string id = question.id(question.has("question_id") ? "question_id" : "image");
        ids.push_back(id);
        auto found = answers.find(id);
        if (found == answers.end()) continue; // reported below, together
        double score = vqa_score(found->second, answers_of(question), rule);
        scores["accuracy"].push_back(score);
        for (const char* key : {"answer_type", "question_type"})
            if (question.has(key)) scores[std::string(key) + "." + question.text(key)].push_back(score);
    }
    if (ids.empty()) throw Error::data(references, ": annotations expected, there are none");
    expect_same_ids(ids, references, answers, predictions);
    MetricValues out;
    for (const auto& [name, values] : scores) out[name] = mean_measurement(values);
    return out;
}

} // namespace dorabench
