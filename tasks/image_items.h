#pragma once
// Questions about pictures and about frames of videos, in the files of the field, told apart by their keys:
//   LLaVA's lines   {question_id, image, text, category?}: the text is the question as it is asked
//   VQA             {"questions": [{question_id, image_id, question}]}
//   TextVQA         {"data": [{question_id, image_id, question, answers?}]}
//   VizWiz          {image, question, answers?: [{answer}], answer_type?}
//   GQA             {question id: {imageId, question, answer, isBalanced, types}}; balanced ones
//   POPE            {question_id, image, text, label}; the category is the file's (random, popular,
//   adversarial) ScienceQA       LLaVA's {id, image?, conversations: [{value}, …]} MMBench         a .tsv
//   with the columns index, question, hint, A … D, answer, category, image (base64) TVQA, How2QA    as
//   media_items.h has them
// Annotations, where the questions do not bear their answers: VQA's and TextVQA's humans, VizWiz's, GQA's
// questions, POPE's own files (by order within a category), ScienceQA's problems.json.
#include "tasks/spec.h"
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace dorabench {

struct ImageItem {
    std::string id, place, question; // the question as it is asked, options and suffix included
    std::vector<std::string>
        images;         // files, "data:image;base64,…", or "clip.mp4#frame=3/8"; none: text alone
    std::string answer; // the right one; empty: hidden, or told by humans
    std::vector<std::string> humans;            // VQA's, TextVQA's, VizWiz's annotators
    std::map<std::string, std::string> options; // letter -> text
    std::map<std::string, std::string> fields;  // the record's simple values, and category, structural, …
};

// Every item in the files' order; f returns false to stop. Error::data names file and record of what is
// damaged, ids that stand twice, questions without their annotation, and (at the end) pictures that are
// missing.
void for_each_image_item(const TaskSpec& spec, const std::string& data_dir,
                         const std::function<bool(ImageItem&&)>& f);

// The question within a text of LLaVA's TextVQA lines, lower case: without its OCR tokens and its suffix.
std::string textvqa_question(const std::string& text);

} // namespace dorabench
