// GQA (Hudson and Manning 2019), after the official eval.py. references: {question id: {"answer",
// "isBalanced", "types":
// {"structural", "semantic"}, "groups": {"global"}, "entailed": [id, …]}}; predictions: [{"questionId",
// "prediction"}, …], or LLaVA's lines {"question_id", "text"}, which are lower-cased and lose their last
// dots. Only balanced questions count.
#include "harness/base/error.h"
#include "tasks/metrics/metric.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/resampling.h"
#include "tasks/metrics/statistics.h"
#include "tasks/metrics/words.h"

namespace dorabench {

namespace {

struct Question {
    std::string id, answer, structural, semantic, group;
    std::vector<std::string> entailed;
    bool balanced = false, right = false;
};

Texts read_predictions(const std::string& path) {
    const nlohmann::json json = read_json(path);
    Texts out;
    for (const Record& record : Record(json, path).items()) {
        const bool official = record.has("questionId");
        std::string id = record.id(official ? "questionId" : "question_id");
        std::string text =
            record.text_of(official ? std::vector<std::string>{"prediction"}
                                    : std::vector<std::string>{"text", "answer", "prediction"});
        if (!official) {
            while (!text.empty() && text.back() == '.') text.pop_back();
            text = lower_unicode(text);
        }
        if (!out.emplace(id, text).second)
            throw Error::data(record.place(), ": one prediction a question expected, ", id,
                              " stands here a second time");
    }
    return out;
}

std::vector<Question> read_questions(const std::string& path) {
    const nlohmann::json json = read_json(path);
    std::vector<Question> out;
    Record(json, path).for_each_member([&](const std::string& id, const Record& record) {
        Question question;
        question.id = id;
        question.answer = record.text("answer");
        question.balanced = record.flag("isBalanced");
        if (record.has("types")) {
            const Record types = record.at("types");
            question.structural = types.text("structural");
            if (types.has("semantic")) question.semantic = types.text("semantic");
        }
        if (record.has("groups") && record.at("groups").has("global"))
            question.group = record.at("groups").text("global");
        if (record.has("entailed")) question.entailed = record.texts("entailed");
        out.push_back(std::move(question));
    });
    return out;
}

// Chi-square distance of the predicted answers from the right ones within a global group, averaged over the
// groups by their number of questions, in hundreds.
double distribution(const std::vector<Question>& questions, const Texts& predictions,
                    const std::vector<size_t>& balanced, const std::vector<uint32_t>& times) {
    std::map<std::string, std::map<std::string, double>> gold, predicted;
    for (size_t k = 0; k < balanced.size(); ++k) {
        const Question& question = questions[balanced[k]];
        if (question.group.empty() || times[k] == 0) continue;
        gold[question.group][question.answer] += times[k];
        predicted[question.group][predictions.at(question.id)] += times[k];
    }
    double sum = 0, weight = 0;
    for (const auto& [group, answers] : gold) {
        double score = 0, size = 0;
        for (const auto& [answer, expected] : answers) {
            const auto& seen = predicted[group];
            auto found = seen.find(answer);
            double difference = (found == seen.end() ? 0 : found->second) - expected;
            score += difference * difference / expected;
            size += expected;
        }
        sum += score * size;
        weight += size;
    }
    return weight > 0 ? sum / weight / 100 : 0;
}

} // namespace

MetricValues gqa_metric(const std::string& references, const std::string& predictions) {
    std::vector<Question> questions = read_questions(references);
    const Texts answers = read_predictions(predictions);
    std::vector<std::string> ids;
    std::unordered_map<std::string, size_t> place;
    for (size_t i = 0; i < questions.size(); ++i) {
        ids.push_back(questions[i].id);
        place[questions[i].id] = i;
    }
    expect_same_ids(ids, references, answers, predictions);
    std::vector<size_t> balanced;
    for (size_t i = 0; i < questions.size(); ++i) {
        questions[i].right = answers.at(questions[i].id) == questions[i].answer;
        if (questions[i].balanced) balanced.push_back(i);
    }
    if (balanced.empty()) throw Error::data(references, ": balanced questions expected, there are none");
    std::map<std::string, std::vector<double>> scores;
    for (size_t i : balanced) {
        const Question& question = questions[i];
        scores["accuracy"].push_back(question.right);
        if (!question.structural.empty()) {
            scores[question.structural == "query" ? "open" : "binary"].push_back(question.right);
            scores["structural." + question.structural].push_back(question.right);
        }
        if (!question.semantic.empty()) scores["semantic." + question.semantic].push_back(question.right);
        double right = 0, entailed = 0; // questions that are not in the file (of another tier) can't count
        for (const std::string& id : question.entailed) {
            auto other = place.find(id);
            if (id == question.id || other == place.end()) continue;
            right += questions[other->second].right;
            ++entailed;
        }
        if (question.right && entailed > 0) scores["consistency"].push_back(right / entailed);
    }
    MetricValues out;
    for (const char* name : {"open", "binary", "consistency"})
        out[name].missing = true; // unless there are such questions
    for (const auto& [name, values] : scores) out[name] = mean_measurement(values);
    out["distribution"] = bootstrap_measurements(
        balanced.size(),
        [&](const std::vector<uint32_t>& times) {
            return std::vector<double>{distribution(questions, answers, balanced, times)};
        },
        200)[0];
    return out;
}

} // namespace dorabench
