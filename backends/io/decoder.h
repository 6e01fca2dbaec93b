#pragma once
// What stands behind the model in a tokenizer.json: the `post_processor`, which puts special tokens around
// the ids, and the `decoder`, which makes text of tokens.
#include "backends/io/json_place.h"
#include <functional>
#include <string>
#include <vector>

namespace dorabench {

// TemplateProcessing, RobertaProcessing, BertProcessing, ByteLevel, Sequence; for one text, never a pair.
using PostProcessor = std::function<std::vector<int64_t>(std::vector<int64_t> ids)>;
PostProcessor parse_post_processor(const Json& node, const JsonPlace& place);

// ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace, BPEDecoder, Sequence. The text is the tokens
// joined; without a decoder they are joined by spaces.
using Decoder = std::function<void(std::vector<std::string>& tokens)>;
Decoder parse_decoder(const Json& node, const JsonPlace& place);

} // namespace dorabench
