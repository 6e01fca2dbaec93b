#pragma once
// Questions about pictures and sampled frames, asked of a chat model as LLaVA's evaluation scripts ask them:
// the pictures in front of the question in the first turn of the conversation template, greedy answers, and
// each benchmark's own reading and score of them (tasks/metrics). Where the answers are hidden there is no
// score, only the file that the benchmark's server takes.
#include "harness/api/task.h"
#include "tasks/image_items.h"

namespace dorabench {

class ImageTask final : public Task {
public:
    // Error::config for log-likelihoods and few-shot examples, which this kind does not have. Reads no data.
    ImageTask(const TaskSpec& spec, const TaskOptions& options);
    std::string name() const override { return spec_.name; }
    std::string fingerprint() const override; // of spec and data files; pictures are not hashed
    const std::vector<Example>& examples() override;
    std::vector<Request> requests(const Example& example) const override;
    Score score(const Example& example, const std::vector<Response>& responses) const override;
    TaskResult aggregate(const std::vector<Example>& examples,
                         const std::vector<Score>& scores) const override;
    std::map<std::string, std::string> submissions(const std::vector<Example>& examples,
                                                   const std::vector<Score>& scores) const override;

private:
    Example make_example(const ImageItem& item) const;
    std::vector<std::string> files_of(const std::vector<std::string>& names) const; // those that there are
    bool is_hidden(const Example& example) const;
    TaskSpec spec_;
    TaskOptions options_;
    std::vector<Example> examples_;
    bool read_ = false;
    mutable std::string data_hash_;
};

} // namespace dorabench
