#pragma once
// Records of the data sets over images and video, in their own projects' formats (design: recipes, 2b and
// 2c), read and checked:
//   vqa            VL-T5's records {img_id, question_id, sent, label: {answer: score}, answer_type,
//   question_type,
//                  is_topk_optimal}, or the official {"questions": [{image_id, question, question_id}]}; the
//                  humans' answers from the official annotations
//   gqa            {img_id, question_id, sent, label: {answer: 1}}
//   nlvr2          {identifier, img0, img1, label: 0 or 1, sent, uid}
//   caption        Karpathy's {"images": [{split, cocoid, filename, sentences: [{raw}]}]}, or COCO's
//                  {"images": [{id, file_name}], "annotations": [{image_id, caption}]}
//   video_qa       {qid, q, a0, …, answer_idx, ts, vid_name}; no answer_idx in a test split
//   video_caption  {vid_name, clip_id, ts, descs: [{desc}]}; no descs in a test split
#include "tasks/spec.h"
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace dorabench {

enum class MediaSplit { train, test };

struct MediaItem {
    std::string id, place, prompt; // place: "file:record 12", for messages
    // The images or the video that the item shows; of each the names its features may have, the likeliest
    // first.
    std::vector<std::vector<std::string>> media;
    // What may be answered, with its soft score: vqa and gqa (label), captions (1 each), "true", "a3". Empty:
    // hidden.
    std::vector<std::pair<std::string, double>> answers;
    std::vector<std::string> human_answers;    // vqa: the ten of the annotations
    std::map<std::string, std::string> fields; // the record's simple values, and those that the prompt uses
};

// Every item of the split, in the files' order. Error::data names file and record of what is damaged, of ids
// that stand twice and (train) of hidden answers; Error::config for a prompt with a field that the records
// lack. f returns false to stop reading.
void for_each_media_item(const TaskSpec& spec, MediaSplit split, const std::string& data_dir,
                         const std::function<bool(MediaItem&&)>& f);

// "a|b" below data_dir and its folders datasets/, video/ and datasets/video/, then beside the spec; "" where
// none is.
std::string look_for_media_data(const TaskSpec& spec, const std::string& names, const std::string& data_dir);
std::vector<std::string> media_data_files(const TaskSpec& spec, MediaSplit split,
                                          const std::string& data_dir);
// data_dir, its folders datasets/, video/, datasets/video/ and eval/ (LLaVA's), and the spec's own, as far as
// they exist.
std::vector<std::string> media_roots(const TaskSpec& spec, const std::string& data_dir);

// A question's time span as Python prints it: a string as it is, numbers as [0.0, 12.5].
std::string time_span_text(const nlohmann::json& value, const std::string& place);
// An option's text without dots and spaces around it, one dot behind.
std::string option_text(const std::string& text);
// VQA v2's soft score of an answer that n of the ten humans gave: 0, 0.3, 0.6, 0.9, 1.
double soft_score(int64_t humans);

} // namespace dorabench
