#pragma once
// Training files of the field's shapes, told apart record by record by their keys:
//   instruction / input / output (Alpaca, LLM-Adapters; also with `instances`, self-instruct), prompt /
//   completion, messages [{role, content}], input_ids / labels (ready-made).
// Beside these any record may bear features (VL-BART: a file, from the data file's folder) with n_images,
// weight (of its loss), and loss_mean (tokens | example: types.h). A conversation's last assistant turn is
// the target; everything before it is prompt.
#include "harness/api/types.h"
#include "tasks/templates.h"
#include <string>
#include <vector>

namespace dorabench {

struct TrainingTemplates {
    std::string template_name; // empty: alpaca for instructions
    std::string
        chat_template; // empty: template_name where that is a chat template, else chatml for conversations
};

// Error::data ("file:record 12: …") for a record of none of these shapes, a field of the wrong type, labels
// that do not fit their ids. prompt / completion takes a template only when one is named and it is a chat
// template.
std::vector<TrainingPair> read_training_file(const std::string& path, const TrainingTemplates& templates);

} // namespace dorabench
