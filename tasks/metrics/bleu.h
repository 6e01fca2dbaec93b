#pragma once
// BLEU-1..4 as coco-caption computes it (Papineni et al. 2002; corpus level, closest reference length, no
// smoothing but the script's 1e-15 / 1e-9), over texts whose tokens are separated by white space.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace dorabench {

// Sufficient statistics of one candidate; the corpus score is a function of their sum.
struct BleuStatistics {
    std::array<double, 4> correct{}, guessed{}; // n-grams of order 1..4, clipped matches and candidates
    double length = 0,
           reference_length = 0; // reference: the closest one, the shorter where two are equally close
    void add(const BleuStatistics& other, double times = 1);
};

BleuStatistics bleu_statistics(const std::string& candidate, const std::vector<std::string>& references);
std::array<double, 4> bleu(const BleuStatistics& statistics); // BLEU-1..4

} // namespace dorabench
