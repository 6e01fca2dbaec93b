#pragma once
// A task: examples of a data set, the requests they become, and how responses are scored. Built from a YAML
// spec (tasks/specs) over a reader; a task of a known kind is one spec file. No torch.
#include "harness/api/types.h"
#include <functional>
#include <memory>
#include <optional>

namespace dorabench {

struct Example { // one item of an evaluation set
    std::string id;
    std::string prompt;               // rendered by the task's template
    std::string target;               // the right answer in the task's words ("solution1")
    std::vector<std::string> choices; // loglikelihood mode: the continuations, in order
    int64_t gold = -1;                // index into choices
    Media media;
    std::map<std::string, std::string> fields; // the record as read (strings as they are, other values as
                                               // JSON text), for samples and metrics
};

struct Score {              // one sample, as written to samples/<task>.jsonl
    std::string prediction; // the answer in the task's words; empty when unparsed
    std::string raw_output; // what the model wrote
    bool parsed = true;
    double score = 0;                     // in [0, 1]; correct = (score == 1) for accuracy-like tasks
    std::map<std::string, double> values; // further named per-sample values (acc_norm, …)
};

struct TaskResult { // one task of one run
    std::map<std::string, Measurement>
        metrics; // "accuracy", "acc_norm", "cider", …; the first named by the spec is primary
    std::string primary;
    int64_t n = 0, unparsed = 0;
    int64_t cut_prompts = 0; // prompts that were cut on the left to fit the backbone's positions
    double chance = 0;       // accuracy of guessing; 0 where that has no meaning
    bool has_chance = false;
};

struct TaskOptions { // what the experiment may change
    std::string data_dir;
    std::string template_name; // empty: the task's own
    std::string mode = "generate";
    int64_t num_fewshot = 0;
    std::string chat_template;
    int64_t limit = 0;
    int64_t num_beams = 4, max_new_tokens = 32;
    uint64_t seed = 0;
};

class Task {
public:
    virtual ~Task() = default;
    virtual std::string name() const = 0; // long name, "llm_adapters/boolq"
    // Hash of everything that shapes prompts and scores (template, extraction, data): CI compares it.
    virtual std::string fingerprint() const = 0;
    virtual const std::vector<Example>&
    examples() = 0; // reads the data on first use; Error::data when missing or damaged
    virtual std::vector<Request> requests(const Example& example) const = 0;
    virtual Score score(const Example& example, const std::vector<Response>& responses) const = 0;
    virtual TaskResult aggregate(const std::vector<Example>& examples,
                                 const std::vector<Score>& scores) const = 0;
    // Files for a benchmark's server, by name; written beside the samples.
    virtual std::map<std::string, std::string> submissions(const std::vector<Example>&,
                                                           const std::vector<Score>&) const {
        return {};
    }
};

} // namespace dorabench
