#include "harness/cli/names.h"
#include "adapters/adapter_set.h"
#include "harness/base/env.h"

namespace dorabench {

TaskCatalog& task_catalog() {
    static TaskCatalog catalog(share_folder() + "/specs");
    return catalog;
}

KnownNames known_names(const Registries& registries) {
    KnownNames names;
    names.backends = registries.backends.names();
    for (const std::string& backend : names.backends)
        for (const std::string& shape : registries.backends.get(backend).shape_names())
            names.shapes.push_back(shape);
    names.methods = adapter_methods();
    names.tasks = task_catalog().names();
    names.templates = task_catalog().template_names();
    for (const NamedHelp& metric : metric_list()) names.metrics.push_back(metric.name);
    return names;
}

const std::vector<NamedHelp>& metric_list() {
    static const std::vector<NamedHelp> list = {
        {"caption", "COCO captions: BLEU 1 to 4, ROUGE-L, CIDEr, METEOR; annotation and result files"},
        {"vqa", "VQA v2: soft accuracy over ten answers, by answer and question type"},
        {"vqa_m4c", "VQA accuracy with the M4C answer processor, as LLaVA's TextVQA evaluation"},
        {"vqa_vlt5", "VQA accuracy as VL-T5's evaluator counts it"},
        {"gqa", "GQA: accuracy, binary, open, consistency, distribution"},
        {"pope", "POPE: accuracy, precision, recall, F1, share of yes"},
        {"nlvr2", "NLVR2: accuracy and consistency"},
        {"mmbench", "MMBench: circular and vanilla accuracy; one TSV may be both files"},
        {"video_qa", "video questions with choices: TVQA solutions or How2QA lines"},
        {"scienceqa", "ScienceQA: accuracy, with and without images"},
        {"multiple_choice", "accuracy over lines of target and prediction"}};
    return list;
}

} // namespace dorabench
