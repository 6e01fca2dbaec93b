#pragma once
// Tasks over images and video as VL-BART is trained and scored on them (VL-T5, VL-Adapter, VALUE): prompts to
// the letter, features by file, greedy or beam answers; NLVR2 by the log-likelihoods of "true" and "false".
// Score and corpus metrics are those of tasks/metrics.
#include "harness/api/task.h"
#include "tasks/media_items.h"
#include <memory>

namespace dorabench {

class CiderD;

class MediaTask final : public Task {
public:
    // Error::config for modes, templates and few-shot examples, which these kinds do not have. Reads no data.
    MediaTask(const TaskSpec& spec, const TaskOptions& options);
    ~MediaTask() override;
    std::string name() const override { return spec_.name; }
    std::string fingerprint() const override; // of spec and data files; features are not hashed
    const std::vector<Example>& examples() override;
    std::vector<Request> requests(const Example& example) const override;
    Score score(const Example& example, const std::vector<Response>& responses) const override;
    TaskResult aggregate(const std::vector<Example>& examples,
                         const std::vector<Score>& scores) const override;
    // VALUE's submission files of the kinds over video.
    std::map<std::string, std::string> submissions(const std::vector<Example>& examples,
                                                   const std::vector<Score>& scores) const override;

private:
    Example make_example(const MediaItem& item, const std::string& features) const;
    bool has_captions() const;
    double caption_cider(const std::string& candidate, const std::vector<std::string>& references) const;
    std::string ascii_or_all(const std::string& text) const; // what this kind's metrics read
    TaskSpec spec_;
    TaskOptions options_;
    std::vector<Example> examples_;
    bool read_ = false;
    std::unique_ptr<CiderD> cider_; // over the test references
    mutable std::string data_hash_;
};

// Training pairs of the spec's training split. VQA: the answers are soft targets, of which every epoch trains
// on one drawn by its score, which is the weight of its loss (VL-T5). Questions whose answers all score 0 are
// left out, which the log says. Captions: one pair a caption.
std::vector<TrainingPair> media_training_pairs(const TaskSpec& spec, const TaskOptions& options);

// What the caption metrics of VALUE read: every character outside ASCII replaced by a space.
std::string ascii_only(const std::string& text);

} // namespace dorabench
