#pragma once
// What the page's sample browser shows: the items on which methods disagree, all of them, and a part of the
// others, with the answers of one run a row of the comparison (its smallest seed). As JSON, an object a task:
//   {"task", "columns": [{"label", "run", "seed"}], "items": [...], "left_out": {"agreeing", "texts"}}
//   item: "id", "p" prompt, "g" right answer, "s" one character a column (1 right, 0 wrong, u unparsed, v a
//   score between, which stands in "v", - not answered), "t" distinct answers [prediction, raw output], "a"
//   the answer of each column in "t" (-1: none), "m" thumbnails as data URIs.
#include "harness/report/comparison.h"
#include <nlohmann/json.hpp>

namespace dorabench {

struct BrowserLimits {
    size_t agreeing = 40;                // items a task on which all methods agree, evenly spread
    size_t text_bytes = size_t(9) << 20; // of prompts and answers in all; items beyond it come without texts
    size_t prompt_characters = 1200, answer_characters = 400; // longer ones are cut, with an ellipsis
    size_t thumbnails = 240;
};

class SampleBrowser {
public:
    explicit SampleBrowser(BrowserLimits limits = {}) : limits_(limits) {}
    // The tasks of a comparison; limits count over all calls. Never throws for what the run folders hold.
    nlohmann::json tasks_of(const Comparison& comparison, const std::vector<RunRecord>& records);

private:
    nlohmann::json task_of(const std::string& task, const std::vector<const RunRecord*>& runs,
                           const std::vector<std::string>& labels);
    nlohmann::json thumbnails_of(const nlohmann::json& media);
    BrowserLimits limits_;
    size_t text_bytes_ = 0, thumbnails_ = 0;
};

} // namespace dorabench
