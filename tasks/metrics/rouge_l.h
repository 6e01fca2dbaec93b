#pragma once
// ROUGE-L as coco-caption computes it (Lin 2004): F-measure of the longest common subsequence with beta
// = 1.2, precision and recall each the best over the references. Tokens are what single spaces separate (an
// empty text is one empty token).
#include <string>
#include <vector>

namespace dorabench {

double rouge_l(const std::string& candidate, const std::vector<std::string>& references);

} // namespace dorabench
