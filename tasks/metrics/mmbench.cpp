// references and predictions: tab-separated tables (one may be both) with the columns index, A, B, C, D (E),
// answer, category and l2-category, and index and prediction. Rows i, i + 1,000,000, … are rotations of
// question i; it counts as right in `circular` when every rotation is, in `vanilla` when the first is.
#include "tasks/metrics/mmbench.h"

#include "harness/base/error.h"
#include "harness/base/text.h"
#include "tasks/metrics/delimited_table.h"
#include "tasks/metrics/metric.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/statistics.h"
#include "tasks/metrics/text_pattern.h"
#include "tasks/metrics/words.h"
#include <algorithm>
#include <charconv>
#include <set>

namespace dorabench {

namespace {

constexpr int64_t kRotation = 1000000;

std::string option_letter(const std::string& answer, const std::map<std::string, std::string>& options) {
    std::string text = answer;
    for (char sign : std::string_view(".()[],:;!*#{}")) std::replace(text.begin(), text.end(), sign, ' ');
    const auto words = split_white_space(text);
    std::string found;
    for (const auto& [letter, option] : options) {
        if (std::find(words.begin(), words.end(), letter) == words.end()) continue;
        if (!found.empty()) return "";
        found = letter;
    }
    auto first = static_cast<size_t>(std::find(words.begin(), words.end(), found) - words.begin());
    return !found.empty() && first + 5 > words.size() ? found : ""; // among the last four words
}

std::string answer_is(const std::string& answer, const std::map<std::string, std::string>& options) {
    static const TextPattern kPattern("\\banswer is:?\\s*\\(?([A-Z])(?![A-Za-z])");
    std::set<std::string> named;
    for (const TextMatch& match : kPattern.find_all(answer))
        named.insert(answer.substr(match.group_begin, match.group_end - match.group_begin));
    return named.size() == 1 && options.count(*named.begin()) ? *named.begin() : "";
}

std::string option_text(const std::string& answer, const std::map<std::string, std::string>& options) {
    const std::string text = lower_unicode(answer);
    size_t length = 0;
    std::string found;
    for (const auto& [letter, option] : options) length += option.size();
    if (text.size() > 2 * length) return "";
    for (const auto& [letter, option] : options) {
        if (text.find(lower_unicode(option)) == std::string::npos) continue;
        if (!found.empty()) return "";
        found = letter;
    }
    return found;
}

struct Question {
    bool every = true, first = false, has_first = false;
    std::string category, group;
};

} // namespace

std::string mmbench_option(const std::string& answer, const std::map<std::string, std::string>& options) {
    for (auto rule : {option_letter, answer_is, option_text})
        if (std::string letter = rule(answer, options); !letter.empty()) return letter;
    return "";
}

int64_t mmbench_index(const std::string& text, const std::string& place) {
    int64_t index = -1;
    auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (status != std::errc() || end != text.data() + text.size() || index < 0)
        throw Error::data(place, ": index: a whole number expected, got \"", text, "\"");
    return index;
}

MetricValues mmbench_values(const std::vector<MmbenchAnswer>& answers, const std::string& where) {
    std::map<int64_t, Question> questions;
    for (const MmbenchAnswer& answer : answers) {
        Question& question = questions[answer.index % kRotation];
        question.every = question.every && answer.right;
        if (answer.index >= kRotation) continue;
        question.first = answer.right;
        question.has_first = true;
        question.category = answer.category;
        question.group = answer.group;
    }
    std::map<std::string, std::vector<double>> scores;
    for (const auto& [index, question] : questions) {
        if (!question.has_first)
            throw Error::data(where, ": the first rotation of every question expected, ", index, " has none");
        scores["circular"].push_back(question.every);
        scores["vanilla"].push_back(question.first);
        if (!question.category.empty()) scores["category." + question.category].push_back(question.every);
        if (!question.group.empty()) scores["l2-category." + question.group].push_back(question.every);
    }
    MetricValues out;
    for (const auto& [name, values] : scores) out[name] = mean_measurement(values);
    return out;
}

MetricValues mmbench_metric(const std::string& references, const std::string& predictions) {
    const DelimitedTable table = read_table(references, '\t');
    const DelimitedTable answer_table = predictions == references ? table : read_table(predictions, '\t');
    Texts answers;
    for (size_t row = 0; row < answer_table.rows(); ++row)
        if (!answers
                 .emplace(
                     std::to_string(mmbench_index(answer_table.cell(row, "index"), answer_table.place(row))),
                     answer_table.cell(row, "prediction"))
                 .second)
            throw Error::data(answer_table.place(row),
                              ": one row an index expected, this one stands here a second time");
    std::vector<MmbenchAnswer> marked;
    std::vector<std::string> ids;
    for (size_t row = 0; row < table.rows(); ++row) {
        const int64_t index = mmbench_index(table.cell(row, "index"), table.place(row));
        ids.push_back(std::to_string(index));
        auto found = answers.find(ids.back());
        if (found == answers.end()) continue; // reported below, together
        std::map<std::string, std::string> options;
        for (const char* letter : {"A", "B", "C", "D", "E"})
            if (table.has(letter) && !table.cell(row, letter).empty())
                options[letter] = table.cell(row, letter);
        const std::string& gold = table.cell(row, "answer");
        if (!options.count(gold))
            throw Error::data(table.place(row), ": answer: the letter of an option expected, got \"", gold,
                              "\"");
        auto text = [&](const char* column) {
            return table.has(column) ? table.cell(row, column) : std::string();
        };
        marked.push_back(
            {index, mmbench_option(found->second, options) == gold, text("category"), text("l2-category")});
    }
    if (ids.empty()) throw Error::data(references, ": rows expected, there are none");
    expect_same_ids(ids, references, answers, predictions);
    return mmbench_values(marked, references);
}

} // namespace dorabench
