#pragma once
// From items to prompts: the task's own template or another one, few-shot examples in front, a chat template
// around.
#include "harness/api/task.h"
#include "tasks/items.h"
#include "tasks/templates.h"

namespace dorabench {

class PromptMaker {
public:
    // Error::config for unknown templates and for two chat templates. Refers to spec, which must outlive it.
    PromptMaker(const TaskSpec& spec, const TaskOptions& options);
    // shots: what stands in front, joined by blank lines.
    std::string prompt(const Item& item, PromptForm form, const std::vector<const Item*>& shots = {}) const;
    std::string
    target(const std::string& text) const;  // for training: with all that the templates put around it
    std::string continuation_start() const; // what stands between prompt and answer
    const std::vector<std::string>& stop() const { return stop_; }
    std::string description() const; // changes whenever a prompt may change (fingerprint)

private:
    std::string bare(const Item& item, PromptForm form) const; // without shots and chat
    const TaskSpec& spec_;
    bool inline_prompt_;
    const PromptTemplate* base_;
    const PromptTemplate* chat_ = nullptr;
    std::vector<std::string> stop_;
};

} // namespace dorabench
