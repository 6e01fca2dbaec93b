#pragma once
// What stands beside the records of images and video: subtitles of a whole video, humans' answers to a
// question.
#include "tasks/spec.h"
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace dorabench {

struct VqaAnnotation {
    std::vector<std::string> answers;         // of the ten humans
    std::map<std::string, std::string> types; // answer_type and question_type, as far as they are stated
};

// By question id, of all of the spec's annotation files that there are; Error::data where there is none.
std::unordered_map<std::string, VqaAnnotation> read_vqa_annotations(const TaskSpec& spec,
                                                                    const std::string& data_dir);
// By video: all subtitle texts joined by a space, without times.
std::unordered_map<std::string, std::string> read_subtitles(const TaskSpec& spec,
                                                            const std::string& data_dir);

} // namespace dorabench
