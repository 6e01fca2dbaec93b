#pragma once
// The caption scores of coco-caption, as VL-BART, TVC, YC2C and nlg-eval report them.
#include "tasks/metrics/meteor_data.h"
#include "tasks/metrics/metric.h"
#include <string>
#include <vector>

namespace dorabench {

struct CaptionCorpus { // one candidate and at least one reference an image; in the order of the files
    std::vector<std::string> ids, candidates;
    std::vector<std::vector<std::string>> references;
};

// Raw captions -> Penn Treebank tokens without punctuation, joined by spaces.
CaptionCorpus tokenize_captions(const CaptionCorpus& raw);
// bleu_1..4, rouge_l, cider and cider_d (the same), and with METEOR's data meteor_exact_stem_synonym and,
// where the paraphrase table is at hand, meteor. Of tokenised captions. CIDEr-D is on its scale of 0 to 10;
// standard errors of CIDEr keep the whole set's document frequencies.
MetricValues caption_values(const CaptionCorpus& tokens, const MeteorData* meteor);

// These, and METEOR and SPICE where asked for, by what the tools or the environment name. What is not at hand
// is a missing value, and the log says why.
MetricValues caption_values(const CaptionCorpus& tokens, const CaptionTools& tools, bool with_meteor,
                            bool with_spice);

// references: {"annotations": [{"image_id", "caption"}, …], "images": [{"id"}, …]}; predictions:
// [{"image_id", "caption"}, …]
CaptionCorpus read_captions(const std::string& references, const std::string& predictions);

} // namespace dorabench
