#include "backends/vlbart/text.h"
#include "backends/nn/causal_text.h"
#include "harness/base/error.h"
#include <algorithm>

namespace dorabench {
namespace {

const Tokenizer& tokenizer_of(const BartVocabulary& v, const std::string& what) {
    return need_tokenizer({v.tokenizer, v.config->vocab, v.config->bos, v.config->eos, v.checkpoint}, what);
}

int64_t cut_right(Ids& ids, int64_t most, int64_t eos) {
    const int64_t extra = static_cast<int64_t>(ids.size()) - std::max<int64_t>(1, most);
    if (extra <= 0) return 0;
    const bool ended = ids.back() == eos;
    ids.resize(ids.size() - extra);
    if (ended) ids.back() = eos;
    return extra;
}

// The target as the tokenizer writes it, an end token added where it adds none, cut to `most` tokens (0:
// not).
Ids target_ids(const Tokenizer& tokenizer, const std::string& text, int64_t most, const BartConfig& c,
               int64_t& cut) {
    Ids ids = tokenizer.encode(text, true);
    if (ids.empty() || ids.back() != c.eos) ids.push_back(c.eos);
    if (most > 0) cut += cut_right(ids, most, c.eos);
    return ids;
}

void check_labels(const Ids& labels, int64_t vocab, const std::string& source) {
    for (int64_t label : labels)
        if (label != kIgnoreLabel && (label < 0 || label >= vocab))
            throw Error::data(source, ": labels must be ", kIgnoreLabel, " or in [0, ", vocab, "), got ",
                              label);
}

} // namespace

EncodedExample encode_bart(const TrainingPair& pair, const EncodeOptions& options, const BartVocabulary& v) {
    const BartConfig& c = *v.config;
    if (!pair.pieces.empty())
        throw Error::data(pair.source,
                          ": expected one source and one target, got a conversation of several, which "
                          "this backbone does not read");
    EncodedExample out;
    out.media = pair.media;
    out.weight = pair.weight;
    out.loss_mean = pair.loss_mean;
    if (!pair.input_ids.empty() || !pair.labels.empty()) {
        out.input_ids = pair.input_ids, out.labels = pair.labels;
    } else {
        const Tokenizer& tokenizer = tokenizer_of(v, pair.source);
        out.input_ids = tokenizer.encode(pair.prompt, true);
        if (pair.max_prompt > 0) out.cut_tokens += cut_right(out.input_ids, pair.max_prompt, c.eos);
        int64_t uncounted = 0; // of answers that may never be drawn
        out.labels = target_ids(tokenizer, pair.target, pair.max_target, c, out.cut_tokens);
        for (const auto& [text, weight] : pair.soft_targets)
            out.soft_targets.push_back({target_ids(tokenizer, text, pair.max_target, c, uncounted), weight});
    }
    if (out.input_ids.empty())
        throw Error::data(pair.source, ": expected a source of at least one token, got none");
    check_ids(out.input_ids, c.vocab, pair.source + ": input_ids");
    check_labels(out.labels, c.vocab, pair.source);
    while (!out.labels.empty() && out.labels.back() == kIgnoreLabel) out.labels.pop_back();
    out.cut_tokens += cut_right(out.input_ids, std::min(options.max_length, c.positions), c.eos);
    auto is_lost = [&](const Ids& labels) {
        return labels.empty() || static_cast<int64_t>(labels.size()) > c.positions;
    };
    std::erase_if(out.soft_targets, [&](const SoftTarget& target) { return is_lost(target.labels); });
    out.lost_target = is_lost(out.labels);
    return out;
}

Ids source_of(const Request& request, const BartVocabulary& v, int64_t& cut) {
    const std::string what = cat("request ", request.id);
    Ids ids = request.has_ids ? request.context_ids : tokenizer_of(v, what).encode(request.context, true);
    check_ids(ids, v.config->vocab,
              what + (request.kind == Request::Kind::score ? ": context_ids" : ": prompt_ids"));
    if (ids.empty()) throw Error::data(what, ": expected a source of at least one token, got none");
    const int64_t positions = v.config->positions;
    cut = cut_right(ids, request.max_context > 0 ? std::min(request.max_context, positions) : positions,
                    v.config->eos);
    return ids;
}

ScoredTarget scored_target(const Request& request, const BartVocabulary& v) {
    const std::string what = cat("request ", request.id);
    ScoredTarget out;
    if (request.has_ids) {
        out.scored = request.continuation_ids;
    } else {
        const Tokenizer& tokenizer = tokenizer_of(v, what);
        const Ids framed = tokenizer.encode("", true); // <s> </s>
        if (framed.size() > 1) out.given = {framed.front()};
        out.scored = tokenizer.encode(request.continuation, false);
    }
    check_ids(out.scored, v.config->vocab, what + ": continuation_ids");
    const int64_t inputs = static_cast<int64_t>(out.given.size() + out.scored.size());
    if (inputs > v.config->positions)
        throw Error::data(what, ": a continuation must be at most ", v.config->positions,
                          " tokens (max_position_embeddings), got ", inputs);
    return out;
}

Ids shifted_right(const Ids& labels, const BartConfig& c) {
    Ids out{c.start};
    for (size_t i = 0; i + 1 < labels.size(); ++i) out.push_back(labels[i] < 0 ? c.pad : labels[i]);
    return out;
}

} // namespace dorabench
