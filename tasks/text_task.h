#pragma once
// Tasks over text, as a spec describes them: options answered by generation or by log-likelihood, and exact
// matches.
#include "tasks/metrics/answer.h"
#include "tasks/prompts.h"

namespace dorabench {

class TextTask final : public Task {
public:
    // Error::config for a mode that the spec does not list and for unknown templates. Reads no data.
    TextTask(const TaskSpec& spec, const TaskOptions& options);
    TextTask(const TextTask&) = delete;
    std::string name() const override { return spec_.name; }
    std::string fingerprint() const override; // reads the data file once
    const std::vector<Example>& examples() override;
    std::vector<Request> requests(const Example& example) const override;
    Score score(const Example& example, const std::vector<Response>& responses) const override;
    TaskResult aggregate(const std::vector<Example>& examples,
                         const std::vector<Score>& scores) const override;

private:
    Example make_example(const Item& item, const std::vector<Item>& pool, class Rng& rng) const;
    std::vector<Item> read_shots(const std::string& test_file) const;
    Score score_generated(const Example& example, const Response& response) const;
    Score score_choices(const Example& example, const std::vector<Response>& responses) const;
    bool scores_choices() const { return options_.mode != "generate"; }

    TaskSpec spec_;
    TaskOptions options_;
    ChoiceForm form_;
    PromptMaker prompts_; // refers to spec_
    AnswerPattern pattern_;
    std::vector<Example> examples_;
    bool read_ = false;
    mutable std::string data_hash_;
};

// Training pairs of the spec's training split.
std::vector<TrainingPair> spec_training_pairs(const TaskSpec& spec, const TaskOptions& options);

} // namespace dorabench
