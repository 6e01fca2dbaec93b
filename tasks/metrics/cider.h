#pragma once
// CIDEr-D (Vedantam et al. 2015) as coco-caption computes it: tf-idf weighted n-gram cosine, clipped, with a
// Gaussian length penalty (sigma 6). Document frequencies come from the references given here. Tokens are
// separated by white space.
#include <memory>
#include <string>
#include <vector>

namespace dorabench {

// One score per image, on the scale of 0 to 10; the corpus score is their mean. references[i]: those of
// candidate i.
std::vector<double> cider_d(const std::vector<std::string>& candidates,
                            const std::vector<std::vector<std::string>>& references);

// The same, one candidate at a time over a fixed set of references.
class CiderD {
public:
    explicit CiderD(const std::vector<std::vector<std::string>>& references);
    ~CiderD();
    double score(const std::string& candidate, const std::vector<std::string>& references) const;

private:
    struct Impl;
    std::unique_ptr<const Impl> impl_;
};

} // namespace dorabench
