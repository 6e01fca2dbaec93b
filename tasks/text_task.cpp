#include "tasks/text_task.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include "tasks/metrics/accuracy.h"
#include "tasks/training_data.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace dorabench {

namespace {

constexpr size_t kHead = 200; // few-shot pool where a task has no training split: the head of the test file

// An example's labels in order, one a line: the one field that is not the record's.
const char* const kLabels = "task.labels";

ChoiceForm choice_form(const TaskSpec& spec, const std::string& mode) {
    return ends_with(mode, ":option_text") ? ChoiceForm::option_text : spec.choices;
}

std::string same_case(const AnswerRule& rule, const std::string& text) {
    return rule.ignore_case ? lower(text) : text;
}

} // namespace

TextTask::TextTask(const TaskSpec& spec, const TaskOptions& options)
    : spec_(spec), options_(options), form_(choice_form(spec, options.mode)), prompts_(spec_, options),
      pattern_(spec.answer) {
    if (std::find(spec.modes.begin(), spec.modes.end(), options.mode) == spec.modes.end())
        throw Error::config("evaluate.mode: ", spec.name, " expects ", join(spec.modes, " or "), ", got \"",
                            options.mode, "\"");
    if (options.num_fewshot < 0)
        throw Error::config("evaluate.num_fewshot: expected at least 0, got ", options.num_fewshot);
}

std::string TextTask::fingerprint() const {
    if (data_hash_.empty()) // of the content, so that a gzipped copy is the same data
        data_hash_ =
            spec_.world ? "world" : sha256_hex(read_file(find_data(spec_, spec_.test, options_.data_dir)));
    std::vector<std::string> parts{spec_.name,
                                   spec_.version,
                                   kind_name(spec_.kind),
                                   options_.mode,
                                   prompts_.description(),
                                   data_hash_,
                                   spec_.answer.pattern,
                                   join(spec_.options, "\x1f"),
                                   join(spec_.labels, "\x1f"),
                                   join(spec_.metrics, "\x1f"),
                                   spec_.answer_field,
                                   spec_.target_field,
                                   spec_.choices_field};
    int64_t beams = options_.num_beams > 0 ? options_.num_beams : spec_.num_beams;
    int64_t tokens = options_.max_new_tokens > 0 ? options_.max_new_tokens : spec_.max_new_tokens;
    if (!scores_choices()) parts.push_back(cat("beams ", beams, " tokens ", tokens));
    parts.push_back(
        cat(spec_.answer.last, spec_.answer.ignore_case, spec_.answer_from_target, static_cast<int>(form_)));
    if (options_.num_fewshot > 0)
        parts.push_back(cat("shots ", options_.num_fewshot, " seed ", options_.seed));
    if (spec_.world) {
        const WorldSpec& w = *spec_.world;
        parts.push_back(cat("world ", w.seed, " ", static_cast<int>(w.stage), " ", w.people, " ", w.options,
                            " ", w.moved, " ", w.move_by_rule, " ", w.held_out, " ", w.state_held_out, " ",
                            w.train_questions, " ", w.train_statements, " ", w.test_questions));
    }
    return sha256_hex(join(parts, "\x1d"));
}

std::vector<Item> TextTask::read_shots(const std::string& test_file) const {
    std::vector<Item> pool;
    if (options_.num_fewshot == 0) return pool;
    std::string path = test_file;
    size_t most = kHead;
    if (!spec_.train.empty()) {
        try {
            path = find_data(spec_, spec_.train, options_.data_dir);
            most = std::numeric_limits<size_t>::max();
        } catch (const Error&) {
            log::warning(spec_.name, ": no training split under ", options_.data_dir,
                         "; few-shot examples come from the head of the test file");
        }
    }
    for_each_item(spec_, path, [&](Item&& item) {
        pool.push_back(std::move(item));
        return pool.size() < most;
    });
    if (static_cast<int64_t>(pool.size()) <= options_.num_fewshot)
        throw Error::config("evaluate.num_fewshot: ", spec_.name, " has ", pool.size(),
                            " examples to draw from, got ", options_.num_fewshot);
    return pool;
}

Example TextTask::make_example(const Item& item, const std::vector<Item>& pool, Rng& rng) const {
    std::string bare = prompts_.prompt(item, PromptForm::evaluation);
    std::vector<const Item*> shots;
    std::vector<size_t> used;
    for (size_t tries = 0; shots.size() < static_cast<size_t>(options_.num_fewshot); ++tries) {
        if (tries > 1000 + 100 * pool.size())
            throw Error::data(item.place, ": too few examples that differ from this one to draw ",
                              options_.num_fewshot, " few-shot examples from");
        size_t drawn = rng.below(pool.size());
        bool again = std::find(used.begin(), used.end(), drawn) != used.end();
        if (again || prompts_.prompt(pool[drawn], PromptForm::evaluation) == bare)
            continue; // the item itself
        used.push_back(drawn);
        shots.push_back(&pool[drawn]);
    }
    Example out;
    out.id = item.id;
    out.prompt = shots.empty() ? bare : prompts_.prompt(item, PromptForm::evaluation, shots);
    out.target = item.answer;
    out.gold = item.gold;
    out.fields = item.fields;
    if (item.gold >= 0) out.fields[kLabels] = join(item.labels, "\n");
    if (scores_choices())
        for (size_t i = 0; i < item.options.size(); ++i)
            out.choices.push_back(continuation(spec_, form_, item, i));
    return out;
}

const std::vector<Example>& TextTask::examples() {
    if (read_) return examples_;
    std::string path = spec_.world ? "" : find_data(spec_, spec_.test, options_.data_dir);
    std::vector<Item> pool = read_shots(path);
    Rng rng(options_.seed, "fewshot");
    std::vector<Example> read;
    for_each_item(spec_, path, [&](Item&& item) {
        read.push_back(make_example(item, pool, rng));
        return options_.limit <= 0 || static_cast<int64_t>(read.size()) < options_.limit;
    });
    examples_ = std::move(read);
    read_ = true;
    return examples_;
}

std::vector<Request> TextTask::requests(const Example& example) const {
    std::vector<Request> out;
    Request request;
    request.id = example.id;
    request.context = example.prompt;
    request.media = example.media;
    if (!scores_choices()) {
        request.kind = Request::Kind::generate;
        request.generate.num_beams = options_.num_beams > 0 ? options_.num_beams : spec_.num_beams;
        request.generate.max_new_tokens =
            options_.max_new_tokens > 0 ? options_.max_new_tokens : spec_.max_new_tokens;
        request.generate.stop = prompts_.stop();
        if (options_.num_fewshot > 0 && request.generate.stop.empty()) request.generate.stop = {"\n\n"};
        if (!spec_.answer.last && !spec_.answer.pattern.empty())
            request.generate.decided = (spec_.answer.ignore_case ? "(?i)" : "") + spec_.answer.pattern;
        out.push_back(std::move(request));
        return out;
    }
    request.kind = Request::Kind::score;
    for (size_t i = 0; i < example.choices.size(); ++i) {
        request.id = cat(example.id, "/", i);
        request.continuation = prompts_.continuation_start() + example.choices[i];
        out.push_back(request);
    }
    return out;
}

Score TextTask::score(const Example& example, const std::vector<Response>& responses) const {
    size_t expected = scores_choices() ? example.choices.size() : 1;
    if (responses.size() != expected)
        throw Error::internal(spec_.name, ": expected ", expected, " responses to example ", example.id,
                              ", got ", responses.size());
    return scores_choices() ? score_choices(example, responses) : score_generated(example, responses[0]);
}

Score TextTask::score_generated(const Example& example, const Response& response) const {
    Score out;
    out.raw_output = response.text;
    std::optional<std::string> found = pattern_.find(response.text);
    std::string wanted = example.target;
    if (example.gold >= 0) {
        // without an expression the whole output must be one of the labels
        if (found && spec_.answer.pattern.empty()) {
            std::vector<std::string> labels = split(example.fields.at(kLabels), '\n');
            if (std::find(labels.begin(), labels.end(), *found) == labels.end()) found.reset();
        }
    } else if (spec_.answer_from_target) {
        std::optional<std::string> reference = pattern_.find(example.target);
        wanted = reference.value_or("");
        if (!reference) found.reset(); // nothing that could be matched
    } else if (spec_.answer.pattern.empty()) {
        wanted = trim(wanted);
    }
    out.parsed = found.has_value();
    out.prediction = found.value_or("");
    out.score =
        out.parsed && same_case(spec_.answer, out.prediction) == same_case(spec_.answer, wanted) ? 1 : 0;
    return out;
}

Score TextTask::score_choices(const Example& example, const std::vector<Response>& responses) const {
    size_t best = 0, best_norm = 0;
    double top = -std::numeric_limits<double>::infinity(), top_norm = top;
    bool tie = false;
    for (size_t i = 0; i < responses.size(); ++i) {
        double sum = responses[i].loglikelihood;
        if (std::isnan(sum))
            throw Error::failed(spec_.name, ": the log-likelihood of example ", example.id,
                                " is not a number");
        double norm = sum / static_cast<double>(std::max<size_t>(example.choices[i].size(), 1)); // bytes
        tie = sum == top || (tie && sum < top);
        if (sum > top) top = sum, best = i;
        if (norm > top_norm) top_norm = norm, best_norm = i;
    }
    Score out;
    out.raw_output = example.choices[best];
    auto labels = split(example.fields.at(kLabels), '\n');
    out.prediction = labels.at(best);
    out.score = static_cast<int64_t>(best) == example.gold ? 1 : 0;
    out.values["acc_norm"] = static_cast<int64_t>(best_norm) == example.gold ? 1 : 0;
    if (tie) out.values["tie"] = 1; // the first of equals was taken
    return out;
}

TaskResult TextTask::aggregate(const std::vector<Example>& examples, const std::vector<Score>& scores) const {
    if (examples.size() != scores.size())
        throw Error::internal(spec_.name, ": expected as many scores as examples (", examples.size(),
                              "), got ", scores.size());
    Accuracy measured = accuracy(scores);
    TaskResult out;
    out.n = measured.all.n;
    out.unparsed = measured.unparsed;
    for (const std::string& metric : spec_.metrics) {
        if (metric == "acc_norm" && !scores_choices()) continue;
        if (metric == "accuracy_parsed" && scores_choices()) continue; // every answer is read
        out.metrics[metric] = metric == "acc_norm"          ? mean_of_value(scores, metric)
                              : metric == "accuracy_parsed" ? measured.parsed
                                                            : measured.all;
        if (out.primary.empty()) out.primary = metric;
    }
    double chance = 0;
    size_t closed = 0;
    for (const Example& example : examples)
        if (example.gold >= 0) {
            chance += 1.0 / static_cast<double>(split(example.fields.at(kLabels), '\n').size());
            ++closed;
        }
    out.has_chance = spec_.chance.has_value() || (closed > 0 && closed == examples.size());
    if (out.has_chance) out.chance = spec_.chance ? *spec_.chance : chance / static_cast<double>(closed);
    return out;
}

std::vector<TrainingPair> spec_training_pairs(const TaskSpec& spec, const TaskOptions& options) {
    if (spec.world) return World(*spec.world).training_pairs();
    if (spec.train.empty())
        throw Error::config("train.data: ", spec.name, " has no training split (", spec.origin,
                            ": data.train)");
    std::string path = find_data(spec, spec.train, options.data_dir);
    if (spec.kind == TaskKind::training) {
        std::string name = options.template_name.empty() && options.chat_template.empty()
                               ? spec.template_name
                               : options.template_name;
        return read_training_file(path, {name, options.chat_template});
    }
    PromptMaker prompts(spec, options);
    std::vector<TrainingPair> out;
    for_each_item(spec, path, [&](Item&& item) {
        TrainingPair pair;
        pair.id = item.id;
        pair.source = item.place;
        pair.prompt = prompts.prompt(item, PromptForm::training);
        pair.target = prompts.target(item.target);
        out.push_back(std::move(pair));
        return true;
    });
    return out;
}

} // namespace dorabench
