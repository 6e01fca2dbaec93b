#pragma once
// Records of a task, read and checked: the options of an item, which of them is right, and what its prompt is
// made of.
#include "tasks/spec.h"
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace dorabench {

struct Item {
    std::string id, place;                    // place: "file:record 12", for messages
    std::string instruction, input;           // of the record; empty where the spec has an inline prompt
    std::vector<std::string> labels, options; // "answer2" and its text; empty where there are no options
    int64_t gold = -1;                        // index of the right option; -1 where there are none
    std::string answer; // the right answer in the task's words: a label, or the reference
    std::string target; // what training teaches
    std::map<std::string, std::string> fields; // the record as read
};

// First existing of the spec's candidates under data_dir (each also with .gz), then beside the spec's file.
// Error::data lists where it looked.
std::string find_data(const TaskSpec& spec, const std::vector<std::string>& candidates,
                      const std::string& data_dir);

// f returns false to stop reading. A synthetic task's items come from its world, path unread.
void for_each_item(const TaskSpec& spec, const std::string& path, const std::function<bool(Item&&)>& f);

// What loglikelihood mode appends for an option, without the spec's target_prefix.
std::string continuation(const TaskSpec& spec, ChoiceForm form, const Item& item, size_t option);

// The options of "Answer format: answer1/answer2" at the end of an instruction with their texts ("Answer1:
// …"); the texts are the labels themselves where the instruction lists none (true/false).
bool options_of_instruction(const std::string& instruction, std::vector<std::string>& labels,
                            std::vector<std::string>& texts);

} // namespace dorabench
