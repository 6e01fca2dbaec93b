// LLM-Adapters' and DoRA's commonsense sets. references: their test files [{"instruction", "answer"}, …]; predictions:
// their experiment files, or any records in the same order with what the model wrote in "output_pred", "text",
// "prediction" or "pred" ("output" is the right answer there). The answer is the first match of the set's words (design:
// metrics, section 7); which words follows from the right answer.
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "tasks/metrics/answer.h"
#include "tasks/metrics/metric.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/statistics.h"

namespace dorabench {

namespace {

std::string words_of_set(const std::string& answer) {
    if (answer == "true" || answer == "false") return "true|false";
    const std::pair<const char*, int> sets[] = {{"solution", 2}, {"answer", 5}, {"ending", 4}, {"option", 2}};
    for (const auto& [word, count] : sets) {
        if (!starts_with(answer, word)) continue;
        std::vector<std::string> words;
        for (int i = 1; i <= count; ++i) words.push_back(cat(word, i));
        return join(words, "|");
    }
    return ""; // the whole text must be the answer
}

} // namespace

MetricValues multiple_choice_metric(const std::string& references, const std::string& predictions) {
    const nlohmann::json reference_json = read_json(references), prediction_json = read_json(predictions);
    const auto questions = Record(reference_json, references).items(),
               outputs = Record(prediction_json, predictions).items();
    if (questions.size() != outputs.size())
        throw Error::data(predictions, ": ", questions.size(), " records expected, as many as ", references,
                          " has, got ", outputs.size());
    if (questions.empty()) throw Error::data(references, ": questions expected, there are none");
    std::map<std::string, AnswerPattern> patterns;
    std::vector<double> right, unparsed;
    for (size_t i = 0; i < questions.size(); ++i) {
        std::string answer = questions[i].text("answer");
        for (const char* key :
             {"id", "instruction"}) // the order is all that pairs them: what both have must agree
            if (questions[i].has(key) && outputs[i].has(key) &&
                questions[i].at(key).value() != outputs[i].at(key).value())
                throw Error::data(outputs[i].place(), ": records in the order of ", references, " expected, ",
                                  key, " differs");
        std::string words = words_of_set(answer);
        auto pattern = patterns.find(words);
        if (pattern == patterns.end())
            pattern = patterns.emplace(words, AnswerPattern(AnswerRule{words, false, false})).first;
        auto found =
            pattern->second.find(outputs[i].text_of({"output_pred", "text", "prediction", "pred"}));
        right.push_back(found && *found == answer);
        unparsed.push_back(!found);
    }
    return {{"accuracy", mean_measurement(right)}, {"unparsed", mean_measurement(unparsed)}};
}

} // namespace dorabench
