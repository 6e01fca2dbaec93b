#pragma once
// Training files of the field's shapes, told apart record by record by their keys:
//   instruction / input / output (Alpaca, LLM-Adapters; also with `instances`, self-instruct), prompt /
//   completion, messages [{role, content}], conversations [{from: human | gpt, value}] (LLaVA's), input_ids /
//   labels (ready-made; -200 is an image).
// Beside these any record may bear image or images (files, from the data file's folder, else below data_dir;
// each has its <image> in the text), features (VL-BART: a file, from the data file's folder) with n_images,
// weight (of its loss), and loss_mean (tokens | example: types.h). The last assistant turn of
// messages is the target, everything before it is prompt; of LLaVA's conversations every answer is a target.
#include "harness/api/types.h"
#include "tasks/templates.h"
#include <string>
#include <vector>

namespace dorabench {

struct TrainingTemplates {
    std::string template_name; // empty: alpaca for instructions
    std::string chat_template; // empty: template_name where that is a chat template, else chatml for
                               // messages, vicuna_v1 (LLaVA's v1) for conversations
    std::string data_dir;      // a second place for images
};

// Error::data ("file:record 12: …") for a record of none of these shapes, a field of the wrong type, labels
// that do not fit their ids. prompt / completion takes a template only when one is named and it is a chat
// template.
std::vector<TrainingPair> read_training_file(const std::string& path, const TrainingTemplates& templates);

} // namespace dorabench
