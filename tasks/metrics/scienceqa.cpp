// references: problems.json {id: {"choices": [text, …], "answer": index, "split"?, "image"?}} (of several
// splits, `test` counts), or records with "id" or "question_id"; predictions: JSON lines {"question_id",
// "text", "prompt"?}. A problem without a prediction is wrong, as in the original.
#include "tasks/metrics/scienceqa.h"

#include "harness/base/error.h"
#include "tasks/metrics/metric.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/statistics.h"
#include "tasks/metrics/text_pattern.h"

namespace dorabench {

namespace {

struct Prediction {
    std::string text;
    bool has_prompt = false, image = false;
};

std::unordered_map<std::string, Prediction> read_predictions(const std::string& path) {
    const nlohmann::json json = read_json(path);
    const Record root(json, path);
    std::unordered_map<std::string, Prediction> out;
    const auto records = root.value().is_object() ? std::vector<Record>{root} : root.items();
    for (const Record& record : records) {
        Prediction prediction{record.text_of({"text", "prediction", "pred"}), record.has("prompt"), false};
        if (prediction.has_prompt)
            prediction.image = record.text("prompt").find("<image>") != std::string::npos;
        std::string id = record.id(record.has("question_id") ? "question_id" : "id");
        if (!out.emplace(id, std::move(prediction)).second)
            throw Error::data(record.place(), ": one prediction a question expected, ", id,
                              " stands here a second time");
    }
    return out;
}

bool is_right(const Record& problem, const Prediction* prediction) {
    const auto choices = problem.texts("choices");
    const int64_t gold = problem.whole("answer");
    if (gold < 0 || gold >= static_cast<int64_t>(choices.size()))
        throw Error::data(problem.place(), ": answer: the index of one of ", choices.size(),
                          " choices expected, got ", gold);
    auto letter = prediction ? scienceqa_letter(prediction->text) : std::nullopt;
    return letter && *letter - 'A' == gold;
}

} // namespace

std::optional<char> scienceqa_letter(const std::string& text) {
    static const TextPattern kPattern("The answer is ([A-Z])[^\\n]");
    auto is_option = [](char c) { return c >= 'A' && c <= 'E'; };
    if (text.size() == 1 && is_option(text[0])) return text[0];
    if (text.size() >= 3 && is_option(text[0]) && text[1] == '.' && text[2] == ' ') return text[0];
    const auto matches = kPattern.find_all(text);
    if (matches.size() != 1) return std::nullopt;
    return text[matches[0].group_begin];
}

MetricValues scienceqa_metric(const std::string& references, const std::string& predictions) {
    const nlohmann::json json = read_json(references);
    const Record root(json, references);
    const auto answers = read_predictions(predictions);
    std::vector<std::pair<std::string, Record>> problems;
    bool has_test = false;
    auto add = [&](const std::string& id, const Record& problem) {
        problems.emplace_back(id, problem);
        has_test = has_test || (problem.has("split") && problem.text("split") == "test");
    };
    if (root.value().is_object()) {
        root.for_each_member(add);
    } else {
        for (const Record& problem : root.items())
            add(problem.id(problem.has("question_id") ? "question_id" : "id"), problem);
    }
    std::vector<double> right, right_with_image, unparsed;
    std::unordered_map<std::string, bool> known;
    for (const auto& [id, problem] : problems) {
        known[id] = true;
        if (has_test && !(problem.has("split") && problem.text("split") == "test")) continue;
        auto found = answers.find(id);
        const Prediction* prediction = found == answers.end() ? nullptr : &found->second;
        right.push_back(is_right(problem, prediction));
        unparsed.push_back(!prediction || !scienceqa_letter(prediction->text));
        bool image = prediction && prediction->has_prompt ? prediction->image : problem.has("image");
        if (image) right_with_image.push_back(right.back());
    }
    std::vector<std::string> extra;
    for (const auto& [id, prediction] : answers)
        if (!known.count(id)) extra.push_back(id);
    report_ids(extra, predictions, references);
    if (right.empty()) throw Error::data(references, ": problems expected, there are none");
    return {{"accuracy", mean_measurement(right)},
            {"image_accuracy", mean_measurement(right_with_image)},
            {"unparsed", mean_measurement(unparsed)}};
}

} // namespace dorabench
