#pragma once
// SPICE (Anderson et al. 2016) by its authors' Java program: the F1 of scene graph tuples needs their parser
// and its models, so nothing of it is computed here. The jar is the user's own; its folder `lib` lies beside
// it.
#include "tasks/metrics/caption.h"

namespace dorabench {

struct SpiceScores {
    std::vector<double> f; // of every image, in the corpus's order, 0 to 1; empty when absent
    std::string absent;    // why there are none; "" when there are
};

// Runs `java -Xmx8G -jar JAR IN -out OUT -silent` over tokenised captions. jar "": the environment's
// DORA_BENCH_SPICE; with neither, or with no `java` on PATH, the scores are absent. Error::data: the jar is
// not there, Java ends with another code than 0, or its output lacks an image's score.
SpiceScores spice(const CaptionCorpus& tokens, const std::string& jar);

} // namespace dorabench
