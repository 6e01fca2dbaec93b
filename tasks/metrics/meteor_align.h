#pragma once
// METEOR's alignment (Denkowski and Lavie 2014): of all word and phrase matches between a candidate and a
// reference, the set without overlaps that covers most, in the fewest chunks, found by a beam search of width
// 40 over the reference.
#include <cstddef>
#include <string>
#include <vector>

namespace dorabench {

enum class MeteorModule { exact = 0, stem = 1, synonym = 2, paraphrase = 3 };

struct MeteorMatch { // words [candidate, candidate + candidate_length) stand for [reference, reference +
                     // reference_length)
    size_t reference = 0, reference_length = 1, candidate = 0, candidate_length = 1;
    MeteorModule module = MeteorModule::exact;
};

struct MeteorAlignment {
    std::vector<MeteorMatch> matches; // ordered by their place in the reference
    int chunks = 0;
};

// matches: all that there are, those of one reference position in order of preference (module, then candidate
// position).
MeteorAlignment align_meteor(size_t candidate_words, size_t reference_words,
                             const std::vector<MeteorMatch>& matches);

} // namespace dorabench
