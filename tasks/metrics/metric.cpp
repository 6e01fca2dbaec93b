#include "tasks/metrics/metric.h"

#include "harness/base/error.h"
#include "harness/base/text.h"
#include "tasks/metrics/vqa.h"

namespace dorabench {

std::vector<Metric> metric_list() {
    auto vqa = [](VqaRule rule) {
        return [rule](const std::string& references, const std::string& predictions) {
            return vqa_metric(references, predictions, rule);
        };
    };
    return {
        {"caption",
         "BLEU-1..4, ROUGE-L, CIDEr-D, METEOR of COCO annotation and result files; SPICE by its own jar",
         [](const std::string& references, const std::string& predictions) {
             return caption_metric(references, predictions);
         }},
        {"vqa", "VQA accuracy as the official script has it, by answer and question type",
         vqa(VqaRule::official)},
        {"vqa_m4c", "VQA accuracy with the TextVQA (M4C, EvalAI) normaliser", vqa(VqaRule::m4c)},
        {"vqa_vlt5", "VQA accuracy as VL-T5 and VL-BART score raw answers", vqa(VqaRule::vlt5)},
        {"gqa", "GQA accuracy, binary, open, consistency, distribution", gqa_metric},
        {"pope",
         "POPE accuracy, precision, recall, F1, yes ratio; folders with the three splits, or one file each",
         pope_metric},
        {"nlvr2", "NLVR2 accuracy and consistency", nlvr2_metric},
        {"mmbench", "MMBench circular and vanilla accuracy", mmbench_metric},
        {"video_qa", "accuracy on TVQA solutions or How2QA lines", video_qa_metric},
        {"scienceqa", "ScienceQA accuracy by LLaVA's answer extraction, in all and with images",
         scienceqa_metric},
        {"multiple_choice", "accuracy on LLM-Adapters' commonsense files", multiple_choice_metric},
    };
}

Metric find_metric(const std::string& name) {
    std::vector<std::string> names;
    for (Metric& metric : metric_list()) {
        if (metric.name == name) return metric;
        names.push_back(metric.name);
    }
    throw Error::config("one of the metrics ", join(names, ", "), " expected, got \"", name, "\"",
                        did_you_mean(name, names));
}

} // namespace dorabench
