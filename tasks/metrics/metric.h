#pragma once
// The metrics that can be computed on their own, from the field's own reference and prediction files. Each
// lives in its own file, together with the per-sample scores that tasks use.
#include "harness/api/types.h"
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace dorabench {

using MetricValues = std::map<std::string, Measurement>; // "accuracy", "answer_type.yes/no", …; fractions

struct Metric {
    std::string name, help;
    // Error::data names the file and record of what is missing or damaged, and ids that stand on one side
    // alone.
    std::function<MetricValues(const std::string& references, const std::string& predictions)> compute;
};

std::vector<Metric> metric_list();
Metric find_metric(const std::string& name); // Error::config: the known names

// One file each; see the files for the formats.
struct CaptionTools { // "": where the environment says (DORA_BENCH_METEOR, DORA_BENCH_SPICE), or nowhere
    std::string
        meteor_data; // METEOR's jar or a folder with its language data; Error::data when it is not there
    std::string spice_jar; // SPICE's Java program
};
MetricValues caption_metric(const std::string& references, const std::string& predictions,
                            const CaptionTools& tools = {});
MetricValues gqa_metric(const std::string& references, const std::string& predictions);
MetricValues pope_metric(const std::string& references, const std::string& predictions);
MetricValues nlvr2_metric(const std::string& references, const std::string& predictions);
MetricValues mmbench_metric(const std::string& references, const std::string& predictions);
MetricValues video_qa_metric(const std::string& references, const std::string& predictions);
MetricValues scienceqa_metric(const std::string& references, const std::string& predictions);
MetricValues multiple_choice_metric(const std::string& references, const std::string& predictions);

} // namespace dorabench
