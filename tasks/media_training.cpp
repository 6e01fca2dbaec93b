// Training pairs of the tasks over images and video.
#include "harness/base/error.h"
#include "harness/base/log.h"
#include "harness/base/rng.h"
#include "tasks/media_features.h"
#include "tasks/media_task.h"

namespace dorabench {

namespace {

// One answer by its soft score; nothing when all score 0.
const std::pair<std::string, double>* draw_answer(const MediaItem& item, uint64_t seed) {
    double sum = 0;
    for (const auto& [text, score] : item.answers) sum += score;
    if (!(sum > 0)) return nullptr;
    double left = Rng(seed, "vqa.target." + item.id).uniform() * sum;
    const std::pair<std::string, double>* last = nullptr;
    for (const auto& answer : item.answers) {
        if (answer.second <= 0) continue;
        last = &answer;
        if ((left -= answer.second) < 0) break;
    }
    return last;
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
        pair.media.n_images = static_cast<int64_t>(item.media.size());
        if (spec.kind == TaskKind::caption)
            pair.loss_mean = LossMean::tokens; // as VL-T5's trainer has it
        else if (spec.kind != TaskKind::video_caption && spec.kind != TaskKind::video_qa)
            pair.loss_mean = LossMean::example;
        const bool soft = spec.kind == TaskKind::vqa || spec.kind == TaskKind::gqa;
        const auto* drawn = soft ? draw_answer(item, options.seed) : nullptr;
        if (soft && !drawn) {
            ++worthless;
            return true;
        }
        const auto features = finder.find(item.media, item.place);
        if (!features) return true;
        pair.media.features = *features;
        if (soft) {
            pair.target = drawn->first;
            pair.weight = drawn->second;
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
