// references: JSON lines {"text", "label": "yes" | "no"}, predictions: JSON lines {"answer"} (LLaVA:
// {"text"}), paired by their order. Where both are folders, each of the splits random, popular and
// adversarial is taken from the file whose name has that word; the unnamed values are then the means over the
// splits, as LLaVA reports F1.
#include "tasks/metrics/pope.h"

#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/metrics/metric.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/resampling.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

namespace dorabench {

namespace {

constexpr std::array<const char*, 5> kNames = {"accuracy", "precision", "recall", "f1", "yes_ratio"};

std::vector<PopeItem> read_items(const std::string& references, const std::string& predictions) {
    const nlohmann::json reference_json = read_json(references), prediction_json = read_json(predictions);
    const auto questions = Record(reference_json, references).items(),
               answers = Record(prediction_json, predictions).items();
    if (questions.size() != answers.size())
        throw Error::data(predictions, ": ", questions.size(), " answers expected, as many as ", references,
                          " has questions, got ", answers.size());
    if (questions.empty()) throw Error::data(references, ": questions expected, there are none");
    std::vector<PopeItem> out;
    for (size_t i = 0; i < questions.size(); ++i) {
        std::string label = questions[i].text("label");
        if (label != "yes" && label != "no")
            throw Error::data(questions[i].place(), ": label yes or no expected, got \"", label, "\"");
        if (questions[i].has("question_id") && answers[i].has("question_id") &&
            questions[i].id("question_id") != answers[i].id("question_id"))
            throw Error::data(answers[i].place(),
                              ": answers in the questions' order expected, here question ",
                              questions[i].id("question_id"), ", got ", answers[i].id("question_id"));
        out.push_back({label == "yes", pope_says_yes(answers[i].text_of({"answer", "text"}))});
    }
    return out;
}

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

std::vector<Measurement> measure(const std::vector<PopeItem>& items) {
    return bootstrap_measurements(items.size(), [&](const std::vector<uint32_t>& times) {
        double tp = 0, fp = 0, tn = 0, fn = 0;
        for (size_t i = 0; i < items.size(); ++i) {
            double& count = items[i].yes ? (items[i].says_yes ? tp : fn) : (items[i].says_yes ? fp : tn);
            count += times[i];
        }
        double precision = ratio(tp, tp + fp), recall = ratio(tp, tp + fn), all = tp + fp + tn + fn;
        return std::vector<double>{ratio(tp + tn, all), precision, recall,
                                   ratio(2 * precision * recall, precision + recall), ratio(tp + fp, all)};
    });
}

std::string file_of_split(const std::string& folder, const std::string& split) {
    std::vector<std::string> found;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
        std::string name = entry.path().filename().string();
        if (name.find(split) != std::string::npos && name.find(".json") != std::string::npos)
            found.push_back(entry.path().string());
    }
    if (found.size() != 1)
        throw Error::data(folder, ": one .json or .jsonl file with \"", split,
                          "\" in its name expected, got ", found.size());
    return found[0];
}

} // namespace

bool pope_says_yes(const std::string& answer) {
    std::string text = replace_all(answer.substr(0, answer.find('.')), ",", "");
    for (const std::string& word : split(text, ' '))
        if (word == "No" || word == "not" || word == "no") return false;
    return true;
}

MetricValues pope_values(const std::map<std::string, std::vector<PopeItem>>& splits) {
    MetricValues out;
    if (splits.size() == 1) {
        auto measured = measure(splits.begin()->second);
        for (size_t k = 0; k < kNames.size(); ++k) out[kNames[k]] = measured[k];
        return out;
    }
    const auto count = static_cast<double>(splits.size());
    std::array<double, kNames.size()> variance{};
    for (const auto& [split, items] : splits) {
        auto measured = measure(items);
        for (size_t k = 0; k < kNames.size(); ++k) {
            out[split + "." + kNames[k]] = measured[k];
            Measurement& mean = out[kNames[k]];
            mean.value += measured[k].value / count;
            mean.n += measured[k].n;
            variance[k] += measured[k].stderr_ * measured[k].stderr_ / (count * count);
        }
    }
    for (size_t k = 0; k < kNames.size(); ++k) {
        Measurement& mean = out[kNames[k]];
        mean.stderr_ = std::sqrt(variance[k]); // the splits share their positive questions: an approximation
        mean.ci_low = mean.value - 1.96 * mean.stderr_;
        mean.ci_high = mean.value + 1.96 * mean.stderr_;
    }
    return out;
}

MetricValues pope_metric(const std::string& references, const std::string& predictions) {
    if (!is_folder(references) && !is_folder(predictions))
        return pope_values({{"", read_items(references, predictions)}});
    if (!is_folder(references) || !is_folder(predictions))
        throw Error::data(is_folder(references) ? predictions : references,
                          ": two folders or two files expected, got one of each");
    std::map<std::string, std::vector<PopeItem>> splits;
    for (const std::string split : {"random", "popular", "adversarial"})
        splits[split] = read_items(file_of_split(references, split), file_of_split(predictions, split));
    return pope_values(splits);
}

} // namespace dorabench
