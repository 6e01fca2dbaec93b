#pragma once
// A SentencePiece model (Kudo and Richardson 2018) run by the sentencepiece library, whose ids are the
// reference: text such as "<s>" inside a text is plain text.
#include "backends/io/special_tokens.h"
#include "backends/io/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace dorabench {

// add_special puts bos before (where the model has one) and eos behind if tokenizer_config.json says so or
// the class is T5's. Decoding with special tokens shows control symbols by name, where the library alone
// leaves them out; ids that the model lacks are looked for among the added tokens, else they vanish.
std::unique_ptr<Tokenizer> load_sentencepiece(const std::string& file, const SpecialTokens& special);

} // namespace dorabench
