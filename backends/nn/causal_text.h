#pragma once
// Text to token rows for causal language models: training pairs, and the seam between a context and its
// continuation.
#include "backends/io/tokenizer.h"
#include "harness/api/types.h"
#include <functional>

namespace dorabench {

struct CausalVocabulary {
    const Tokenizer* tokenizer = nullptr; // null: only ready-made ids can be read
    int64_t size = 0;                     // ids must lie below it
    int64_t bos = -1, eos = -1;           // -1: none
    std::string checkpoint;               // for messages
};

// Prompt and target are encoded together (as LLM-Adapters and alpaca-lora do), the end token added where
// there is room; without train_on_inputs the tokens of the prompt alone bear no loss. Too long a row loses
// the left of its prompt (a leading BOS stays); where the target itself does not fit, lost_target is set. A
// conversation in pieces loses its end instead, as its trainers cut it.
// Labels are aligned with input_ids, unshifted.
EncodedExample encode_causal(const TrainingPair& pair, const EncodeOptions& options,
                             const CausalVocabulary& vocabulary);

// Text with several targets. What stands between two marks (the tokens that end a turn) is encoded as one
// text behind the first of them, and a piece ends where the encoding of everything up to it ends: so the
// targets of a conversation are the tokens behind "ASSISTANT:" up to and with the end mark, as the chat
// models' trainers mask them. encode: a text's ids, with the special tokens that begin a text or without.
struct PieceRow {
    Ids ids, labels;
};
using EncodeText = std::function<Ids(const std::string& text, bool special)>;
PieceRow encode_pieces(const std::vector<TextPiece>& pieces, const EncodeText& encode, bool train_on_inputs);

// Labels that bear loss behind the shift by one: the first of each packed document is nobody's target.
double causal_loss_weight(const EncodedExample& example);

struct Seam {
    Ids context, continuation;
};
// Encoded together and split by the length of the context's own encoding; white space at the context's end
// belongs to the continuation; an empty context becomes the BOS (else the end) token. The conventions of
// lm-evaluation-harness.
Seam encode_seam(const std::string& context, const std::string& continuation,
                 const CausalVocabulary& vocabulary);

// Leaves at most `most` ids (at least one): the left goes, a leading BOS stays. Returns how many went.
int64_t cut_left(Ids& ids, int64_t most, int64_t bos);
// Error::data when an id is outside the vocabulary; what: "request 7: prompt_ids".
void check_ids(const Ids& ids, int64_t vocabulary, const std::string& what);
// Error::data when there is no tokenizer: names the repair.
const Tokenizer& need_tokenizer(const CausalVocabulary& vocabulary, const std::string& what);

} // namespace dorabench
