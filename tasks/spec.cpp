#include "tasks/spec.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/spec_yaml.h"
#include "tasks/templates.h"
#include <algorithm>
#include <filesystem>

namespace dorabench {

namespace {

const std::vector<std::string> kKinds{"multiple_choice", "exact_match", "generate",      "training",
                                      "synthetic",       "vqa",         "gqa",           "nlvr2",
                                      "caption",         "video_qa",    "video_caption", "image_qa"};
const std::vector<std::string> kModes{"generate", "loglikelihood", "loglikelihood:option_text"};
const std::vector<std::string> kMetrics{"accuracy", "accuracy_parsed", "acc_norm", "exact_match"};
const std::vector<std::string> kCaptionMetrics{"cider",  "bleu_1",  "bleu_2", "bleu_3",
                                               "bleu_4", "rouge_l", "meteor", "meteor_exact_stem_synonym",
                                               "spice"};

// What a kind over images or video can report, its default order.
std::vector<std::string> media_metrics(TaskKind kind) {
    switch (kind) {
    case TaskKind::vqa:
        return {"accuracy", "accuracy_official", "by_answer_type", "by_question_type", "by_topk"};
    case TaskKind::nlvr2:
        return {"accuracy", "consistency"};
    case TaskKind::caption:
    case TaskKind::video_caption:
        return kCaptionMetrics;
    case TaskKind::video_qa:
        return {"accuracy", "accuracy_parsed"};
    case TaskKind::image_qa:
        return {"accuracy", "accuracy_parsed", "by_answer_type", "by_question_type", "image_accuracy",
                "f1",       "precision",       "recall",         "yes_ratio",        "binary",
                "open",     "circular",        "vanilla",        "by_category"};
    default:
        return {"accuracy"};
    }
}

void check_names(SpecMap& map, const std::string& key, const std::vector<std::string>& names,
                 const std::vector<std::string>& allowed) {
    for (const std::string& name : names)
        if (std::find(allowed.begin(), allowed.end(), name) == allowed.end())
            map.fail(key, cat("expected ", join(allowed, ", "), ", got \"", name, "\"",
                              did_you_mean(name, allowed)));
}

void read_fields(SpecMap& map, TaskSpec& spec) {
    map.take("instruction", spec.instruction_field);
    map.take("input", spec.input_field);
    map.take("answer", spec.answer_field);
    map.take("target", spec.target_field);
    map.take("id", spec.id_field);
    map.take("choices", spec.choices_field);
}

void read_answer(SpecMap& map, TaskSpec& spec) {
    map.take("pattern", spec.answer.pattern);
    map.take_choice("match", {"first", "last"}, [&](size_t i) { spec.answer.last = i == 1; });
    map.take("ignore_case", spec.answer.ignore_case);
    map.take("from_target", spec.answer_from_target);
    try {
        AnswerPattern pattern(spec.answer);
    } catch (const Error& error) {
        map.fail("pattern", error.what());
    }
}

void read_generation(SpecMap& map, TaskSpec& spec) {
    map.take("num_beams", spec.num_beams, 1, 1024);
    map.take("max_new_tokens", spec.max_new_tokens, 1, 1 << 20);
    map.take("stop", spec.stop);
}

void read_world(SpecMap& map, TaskSpec& spec) {
    if (!spec.world) spec.world = WorldSpec{};
    WorldSpec& world = *spec.world;
    int64_t seed = static_cast<int64_t>(world.seed);
    map.take("seed", seed, 0, int64_t(1) << 53);
    world.seed = static_cast<uint64_t>(seed);
    map.take_choice("stage", {"original", "shifted", "kept"},
                    [&](size_t i) { world.stage = static_cast<WorldStage>(i); });
    map.take("people", world.people, 6, most_people());
    map.take("options", world.options, 2, 3);
    map.take_choice("answer_by", {"value", "option"}, [&](size_t i) { world.answer_by_option = i == 1; });
    map.take("moved", world.moved, 0, 1);
    map.take_choice("move_by", {"rule", "chance"}, [&](size_t i) { world.move_by_rule = i == 0; });
    map.take("held_out", world.held_out, 0, 0.9);
    map.take("train_questions", world.train_questions, 1, 1 << 20);
    map.take("train_statements", world.train_statements, 0, 1 << 20);
    map.take("test_questions", world.test_questions, 1, 1 << 16);
    map.take("state_held_out", world.state_held_out);
}

void read_options(SpecMap& map, TaskSpec& spec) {
    if (map.is_list("options")) {
        map.take("options", spec.options);
        if (spec.options.size() < 2) map.fail("options", "expected at least two options");
    } else {
        map.take_choice("options", {"answer_format"}, [&](size_t) { spec.options_in_text = true; });
    }
    map.take("labels", spec.labels);
    map.take_choice("choices", {"answer_sentence", "option_text", "label"},
                    [&](size_t i) { spec.choices = static_cast<ChoiceForm>(i); });
    double chance = spec.chance.value_or(-1);
    map.take("chance", chance, 0, 1);
    if (chance >= 0) spec.chance = chance;
}

void apply(SpecMap map, TaskSpec& spec) {
    map.take("name", spec.name);
    map.take("alias", spec.alias);
    map.take("help", spec.help);
    map.take("version", spec.version);
    map.take_choice("kind", kKinds, [&](size_t i) { spec.kind = static_cast<TaskKind>(i); });
    MediaSpec media = spec.media.value_or(MediaSpec());
    map.take_map("data", [&](SpecMap& data) {
        data.take("test", spec.test);
        data.take("train", spec.train);
        if (!is_media_kind(spec.kind)) return;
        data.take("annotations", media.annotations);
        data.take("subtitles", media.subtitles);
        data.take("ocr", media.ocr);
    });
    if (is_media_kind(spec.kind)) {
        read_media_keys(map, media);
        spec.media = media;
    }
    map.take("files", spec.files);
    map.take_map("fields", [&](SpecMap& fields) { read_fields(fields, spec); });
    map.take("prompt", spec.prompt);
    map.take("template", spec.template_name);
    if (map.has("template") && !has_template(spec.template_name))
        map.fail("template", cat("no template is called \"", spec.template_name, "\"",
                                 did_you_mean(spec.template_name, all_template_names())));
    map.take("target_prefix", spec.target_prefix);
    map.take_map("answer", [&](SpecMap& answer) { read_answer(answer, spec); });
    read_options(map, spec);
    map.take("metrics", spec.metrics);
    check_names(map, "metrics", spec.metrics, is_media_kind(spec.kind) ? media_metrics(spec.kind) : kMetrics);
    map.take("modes", spec.modes);
    check_names(map, "modes", spec.modes, kModes);
    map.take_map("generation", [&](SpecMap& generation) { read_generation(generation, spec); });
    map.take_map("world", [&](SpecMap& world) { read_world(world, spec); });
    map.finish();
}

void read_into(const std::string& path, TaskSpec& spec, int depth) {
    SpecMap map = SpecMap::open(path);
    std::string include;
    map.take("include", include);
    if (!include.empty()) {
        if (depth > 8) map.fail("include", "expected at most 8 files that include one another (a circle?)");
        std::string part = (std::filesystem::path(path).parent_path() / include).string();
        if (!exists(part)) map.fail("include", "no file " + part);
        read_into(part, spec, depth + 1);
    }
    apply(std::move(map), spec);
}

[[noreturn]] void refuse(const TaskSpec& spec, const std::string& message) {
    throw Error::config(spec.origin, ": ", message);
}

void check_choice_spec(const TaskSpec& spec) {
    int sources = (spec.options_in_text ? 1 : 0) + (spec.options.empty() ? 0 : 1) +
                  (spec.choices_field.empty() ? 0 : 1);
    if (sources != 1)
        refuse(spec,
               "kind multiple_choice: expected the options from exactly one of `options: answer_format`, "
               "`options: [a, b]` and `fields: {choices: …}`");
    if (!spec.options.empty() && !spec.labels.empty() && spec.labels.size() != spec.options.size())
        refuse(spec, cat("labels: expected as many as options (", spec.options.size(), "), got ",
                         spec.labels.size()));
}

void check_media(TaskSpec& spec) {
    const MediaSpec& media = *spec.media;
    const bool video = spec.kind == TaskKind::video_qa || spec.kind == TaskKind::video_caption;
    if (spec.prompt.empty()) refuse(spec, "prompt: expected the text that stands before the answer");
    if (spec.test.empty() && spec.train.empty()) refuse(spec, "data: expected test or train");
    if (media.features.empty())
        refuse(spec, "features.files: expected where the features lie, below data_dir");
    if (spec.kind == TaskKind::video_qa && media.choices == 0)
        refuse(spec, "options_count: expected how many options a question has");
    if (!video && !media.submission.empty()) refuse(spec, "submission: only the kinds over video have one");
    if (!media.submission.empty() && media.submission.find('/') != std::string::npos)
        refuse(spec, "submission.file: expected a bare name, got \"" + media.submission + "\"");
    if (!spec.options.empty() || spec.options_in_text || !spec.labels.empty() || !spec.files.empty())
        refuse(spec, "options, labels and files are keys of other kinds");
    if (spec.metrics.empty()) spec.metrics = media_metrics(spec.kind);
    if (starts_with(spec.metrics.front(), "by_"))
        refuse(spec, "metrics: expected a metric of all examples first");
}

void check_images(TaskSpec& spec) {
    const MediaSpec& media = *spec.media;
    if (spec.test.empty()) refuse(spec, "data: expected test");
    if (media.images.empty() && media.scoring != "mmbench")
        refuse(spec, "images: expected where the pictures lie, below data_dir");
    if (media.scoring.empty())
        refuse(spec, "scoring: expected vqa, vqa_m4c, gqa, pope, scienceqa, mmbench or option");
    if (!media.features.empty()) refuse(spec, "features: kind image_qa reads pictures, expected images");
    if (media.submission.empty() != media.submission_form.empty())
        refuse(spec, "submission: expected file and form");
    if (media.submission.find('/') != std::string::npos)
        refuse(spec, "submission.file: expected a bare name, got \"" + media.submission + "\"");
    if (!find_template(spec.template_name).is_chat())
        refuse(spec, "template: expected a chat template, got \"" + spec.template_name + "\"");
    if (spec.metrics.empty()) refuse(spec, "metrics: expected at least one");
    if (starts_with(spec.metrics.front(), "by_"))
        refuse(spec, "metrics: expected a metric of all examples first");
}

void check(TaskSpec& spec) {
    if (spec.name.empty()) refuse(spec, "name: expected a name for the task");
    if (spec.kind == TaskKind::image_qa) return check_images(spec);
    if (is_media_kind(spec.kind)) return check_media(spec);
    bool choice = spec.kind == TaskKind::multiple_choice;
    if (choice) check_choice_spec(spec);
    if (spec.kind == TaskKind::synthetic) {
        if (!spec.world) refuse(spec, "kind synthetic: expected the key world");
    } else if (spec.world) {
        refuse(spec, "world: only kind synthetic has one");
    }
    if (spec.kind == TaskKind::training && spec.train.empty())
        refuse(spec, "kind training: expected data.train");
    if ((choice || spec.kind == TaskKind::exact_match || spec.kind == TaskKind::generate) &&
        spec.test.empty())
        refuse(spec, "data.test: expected where the test records lie, below data_dir");
    if (spec.kind == TaskKind::generate && spec.answer.pattern.empty())
        refuse(spec, "kind generate: expected answer.pattern, the expression that finds the answer "
                     "(exact_match takes the "
                     "whole output)");
    for (const auto* paths : {&spec.test, &spec.train})
        for (const std::string& path : *paths)
            if (spec.files.empty() && path.find("{file}") != std::string::npos)
                refuse(spec, "files: expected the names that {file} in data stands for");
    choice = choice || spec.kind == TaskKind::synthetic;
    if (!choice && spec.modes != std::vector<std::string>{"generate"} && spec.kind != TaskKind::training)
        refuse(spec, "modes: only multiple_choice has loglikelihood");
    if (spec.metrics.empty())
        spec.metrics = choice ? std::vector<std::string>{"accuracy", "accuracy_parsed", "acc_norm"}
                              : std::vector<std::string>{"exact_match"};
}

} // namespace

TaskSpec read_task_spec(const std::string& path) {
    TaskSpec spec;
    spec.origin = path;
    read_into(path, spec, 0);
    check(spec);
    return spec;
}

bool is_media_kind(TaskKind kind) { return kind >= TaskKind::vqa; }

std::string kind_name(TaskKind kind) { return kKinds[static_cast<size_t>(kind)]; }

} // namespace dorabench
