// Training pairs of the tasks over images and video.
#include "harness/base/error.h"
#include "harness/base/log.h"
#include "tasks/media_features.h"
#include "tasks/media_task.h"

namespace dorabench {

namespace {

// The answers that score above 0; target and weight are the best one's. false: there is none.
bool take_soft_answers(const MediaItem& item, TrainingPair& pair) {
    pair.weight = 0;
    for (const auto& [text, score] : item.answers) {
        if (!(score > 0)) continue;
        pair.soft_targets.emplace_back(text, score);
        if (score > pair.weight) pair.target = text, pair.weight = score;
    }
    const bool any = !pair.soft_targets.empty();
    if (pair.soft_targets.size() == 1) pair.soft_targets.clear(); // nothing to draw
    return any;
}

} // namespace

std::vector<TrainingPair> media_training_pairs(const TaskSpec& spec, const TaskOptions& options) {
    if (!options.template_name.empty() || !options.chat_template.empty())
        throw Error::config("train.template: ", spec.name, " has a prompt of its own (", spec.origin,
                            "); leave template out");
    FeatureFinder finder(spec, options.data_dir);
    std::vector<TrainingPair> out;
    int64_t worthless = 0;
    for_each_media_item(spec, MediaSplit::train, options.data_dir, [&](MediaItem&& item) {
        TrainingPair pair;
        pair.id = item.id;
        pair.source = item.place;
        pair.prompt = item.prompt;
        pair.max_prompt = spec.media->max_prompt;
        pair.max_target = spec.media->max_target;
        pair.media.n_images = static_cast<int64_t>(item.media.size());
        if (spec.kind == TaskKind::caption)
            pair.loss_mean = LossMean::tokens; // as VL-T5's trainer has it
        else if (spec.kind != TaskKind::video_caption && spec.kind != TaskKind::video_qa)
            pair.loss_mean = LossMean::example;
        const bool soft = spec.kind == TaskKind::vqa || spec.kind == TaskKind::gqa;
        if (soft && !take_soft_answers(item, pair)) {
            ++worthless;
            return true;
        }
        const auto features = finder.find(item.media, item.place);
        if (!features) return true;
        pair.media.features = *features;
        if (soft) {
            out.push_back(std::move(pair));
            return true;
        }
        for (size_t i = 0; i < item.answers.size(); ++i) {
            pair.target = item.answers[i].first;
            if (item.answers.size() > 1) pair.id = cat(item.id, "/", i);
            out.push_back(pair);
        }
        return true;
    });
    finder.finish();
    if (worthless > 0)
        log::info(spec.name, ": ", worthless, " questions without an answer of a score above 0 are left out");
    if (out.empty()) throw Error::data(spec.name, ": expected training examples, all of them are left out");
    return out;
}

} // namespace dorabench
