#pragma once
// A task as its YAML spec states it (tasks/README.md lists the keys). `include:` names a shared part, read
// first; what the spec itself says wins key by key. Unknown keys, wrong types and values out of range are
// Error::config with file:line:column.
#include "tasks/media_spec.h"
#include "tasks/metrics/answer.h"
#include "tasks/world.h"
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dorabench {

enum class TaskKind {
    multiple_choice, // a right one among options: generate and loglikelihood
    exact_match,     // the answer taken out of the output equals the one taken out of the reference
    generate,        // the answer taken out of the output by a regular expression equals the reference
    training,        // a training set alone
    synthetic,       // multiple choice over a world drawn from a seed; no data files
    vqa,             // VQA v2: soft targets, ten humans' answers
    gqa,             // GQA: one short answer
    nlvr2,           // a statement about two images: true or false, by log-likelihood
    caption,         // COCO captions
    video_qa,        // TVQA, How2QA: subtitles, a question, options a0, a1, …
    video_caption,   // TVC, YC2C: subtitles, captions
    image_qa, // questions about pictures or sampled frames, asked of a chat model (LLaVA's evaluations)
};
bool is_media_kind(TaskKind kind); // over images or video (media_task.h)

// What loglikelihood mode appends for an option.
enum class ChoiceForm { answer_sentence /* "the correct answer is answer2" */, option_text, label };

struct TaskSpec {
    std::string origin;            // the spec's file
    std::string name, alias, help; // "llm_adapters/boolq", "boolq"
    std::string version = "1";
    TaskKind kind = TaskKind::multiple_choice;

    // Candidate paths below data_dir, first found wins, each also with ".gz"; "{file}" stands for every one
    // of `files`.
    std::vector<std::string> test, train, files;

    // Fields of a record.
    std::string instruction_field = "instruction", input_field = "input";
    std::string answer_field = "answer"; // the right answer: a label, an option's text or its 0-based index
    std::string target_field;  // what training teaches; empty: the right option's continuation, or the answer
    std::string id_field;      // empty: the 0-based number of the record
    std::string choices_field; // an array of the options' texts

    std::string prompt; // inline template with {field}; else template_name renders instruction and input
    std::string template_name = "plain";
    std::string target_prefix; // between prompt and answer, in training and loglikelihood: " "

    AnswerRule answer;
    bool answer_from_target = false; // exact_match: the rule is applied to the reference, too

    bool options_in_text =
        false; // options: answer_format — read from "Answer format: a/b" in the instruction
    std::vector<std::string> options; // options: [yes, no] — the same for every record
    std::vector<std::string> labels;  // by which the answer is named; default A, B, C, …
    ChoiceForm choices = ChoiceForm::option_text;
    std::optional<double> chance; // otherwise the mean of 1 / options, or none where there are no options

    std::vector<std::string> metrics; // the first is primary
    std::vector<std::string> modes{"generate"};
    int64_t num_beams = 1, max_new_tokens = 32; // where the experiment does not say
    std::vector<std::string> stop;

    std::optional<WorldSpec> world; // synthetic
    std::optional<MediaSpec> media; // the kinds over images and video
};

TaskSpec read_task_spec(const std::string& path);
std::string kind_name(TaskKind kind);

} // namespace dorabench
