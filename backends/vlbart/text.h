#pragma once
// Text to token rows for an encoder-decoder: the source with the tokenizer's special tokens, the target
// between them.
#include "backends/io/tokenizer.h"
#include "backends/vlbart/config.h"

namespace dorabench {

struct BartVocabulary {
    const Tokenizer* tokenizer = nullptr; // null: only ready-made ids can be read
    const BartConfig* config = nullptr;
    std::string checkpoint; // for messages
};

// Source: cut on the right to the pair's max_prompt, options.max_length and the backbone's positions, an end
// token stays last (the convention of encoder-decoders, and what VL-Adapter's long subtitles meet). Target
// and soft targets: as the tokenizer writes them, an end token added where it adds none, cut on the right to
// the pair's max_target where it has one; a target that the positions do not hold is lost_target, never cut.
// Ready-made ids: input_ids are the source, labels the target (kIgnoreLabel bears no loss; those at the
// end are dropped).
EncodedExample encode_bart(const TrainingPair& pair, const EncodeOptions& options,
                           const BartVocabulary& vocabulary);

// The ids of a request's source, cut likewise to its max_context and the positions; cut: how many went.
// Error::data for an empty one.
Ids source_of(const Request& request, const BartVocabulary& vocabulary, int64_t& cut);

// What a score request's decoder reads and is scored on. Ready-made ids are scored from the first on. A
// text's leading special token (BART's <s>) is given, its tokens alone are scored: NLVR2's convention, where
// "true" and "false" are compared behind [start, <s>].
struct ScoredTarget {
    Ids given, scored;
};
ScoredTarget scored_target(const Request& request, const BartVocabulary& vocabulary);

// The decoder's input for these labels: the start token, then all but the last, pad where a label is
// kIgnoreLabel.
Ids shifted_right(const Ids& labels, const BartConfig& config);

} // namespace dorabench
