#include "backends/nn/causal_text.h"
#include "harness/base/error.h"
#include <algorithm>

namespace dorabench {
namespace {

// Ready-made ids: labels absent means that every token is a target.
EncodedExample take_ids(const TrainingPair& pair, const CausalVocabulary& vocabulary) {
    EncodedExample out;
    out.input_ids = pair.input_ids;
    out.labels = pair.labels.empty() ? pair.input_ids : pair.labels;
    if (out.labels.size() != out.input_ids.size())
        throw Error::data(pair.source, ": labels must be as many as input_ids (", out.input_ids.size(),
                          "), got ", out.labels.size());
    check_ids(out.input_ids, vocabulary.size, pair.source + ": input_ids");
    for (int64_t label : out.labels)
        if (label != kIgnoreLabel && (label < 0 || label >= vocabulary.size))
            throw Error::data(pair.source, ": labels must be ", kIgnoreLabel, " or in [0, ", vocabulary.size,
                              "), got ", label);
    return out;
}

EncodedExample take_pieces(const TrainingPair& pair, const EncodeOptions& options,
                           const CausalVocabulary& vocabulary) {
    const Tokenizer& tokenizer = need_tokenizer(vocabulary, pair.source);
    PieceRow row = encode_pieces(
        pair.pieces, [&](const std::string& text, bool special) { return tokenizer.encode(text, special); },
        options.train_on_inputs);
    check_ids(row.ids, vocabulary.size, pair.source + ": the tokenizer's ids");
    EncodedExample out;
    out.cut_tokens = std::max<int64_t>(0, static_cast<int64_t>(row.ids.size()) - options.max_length);
    const bool ended = !row.ids.empty() && row.ids.back() == vocabulary.eos;
    if (vocabulary.eos >= 0 && !ended && static_cast<int64_t>(row.ids.size()) < options.max_length) {
        row.ids.push_back(vocabulary.eos);
        row.labels.push_back(vocabulary.eos);
    }
    row.ids.resize(row.ids.size() - static_cast<size_t>(out.cut_tokens));
    row.labels.resize(row.ids.size());
    out.input_ids = std::move(row.ids);
    out.labels = std::move(row.labels);
    return out;
}

struct Encoded {
    EncodedExample example;
    int64_t prompt = 0; // leading tokens that are the prompt's
};

Encoded encode_text(const TrainingPair& pair, const EncodeOptions& options,
                    const CausalVocabulary& vocabulary) {
    const Tokenizer& tokenizer = need_tokenizer(vocabulary, pair.source);
    Encoded out;
    Ids& ids = out.example.input_ids;
    ids = tokenizer.encode(pair.prompt + pair.target, true);
    check_ids(ids, vocabulary.size, pair.source + ": the tokenizer's ids");
    const bool ended = !ids.empty() && ids.back() == vocabulary.eos;
    if (vocabulary.eos >= 0 && !ended && static_cast<int64_t>(ids.size()) < options.max_length)
        ids.push_back(vocabulary.eos);
    out.prompt = std::min<int64_t>(static_cast<int64_t>(tokenizer.encode(pair.prompt, true).size()),
                                   static_cast<int64_t>(ids.size()));
    out.example.labels = ids;
    if (!options.train_on_inputs) std::fill_n(out.example.labels.begin(), out.prompt, kIgnoreLabel);
    return out;
}

} // namespace

const Tokenizer& need_tokenizer(const CausalVocabulary& vocabulary, const std::string& what) {
    if (vocabulary.tokenizer) return *vocabulary.tokenizer;
    throw Error::data(what, ": text needs a tokenizer, and ",
                      vocabulary.checkpoint.empty() ? "this backbone" : vocabulary.checkpoint,
                      " has none (tokenizer.json or tokenizer.model); name one as backend.tokenizer "
                      "(--tokenizer), or give ids");
}

void check_ids(const Ids& ids, int64_t vocabulary, const std::string& what) {
    for (int64_t id : ids)
        if (id < 0 || id >= vocabulary)
            throw Error::data(what, " must lie in [0, ", vocabulary, "), the vocabulary; got ", id);
}

int64_t cut_left(Ids& ids, int64_t most, int64_t bos) {
    const int64_t extra = static_cast<int64_t>(ids.size()) - std::max<int64_t>(1, most);
    if (extra <= 0) return 0;
    const bool keeps_bos = bos >= 0 && ids.front() == bos && most > 1;
    const auto begin = ids.begin() + (keeps_bos ? 1 : 0);
    ids.erase(begin, begin + extra);
    return extra;
}

PieceRow encode_pieces(const std::vector<TextPiece>& pieces, const EncodeText& encode, bool train_on_inputs) {
    PieceRow out;
    std::string text; // since the last mark, which stands at its beginning
    bool first = true;
    size_t begin = 0; // piece
    auto flush = [&](size_t end) {
        std::string head = text;
        for (size_t i = begin; i < end; ++i) text += pieces[i].text;
        const Ids whole = encode(text, first);
        size_t from = first ? 0 : 1; // the mark in front is there already
        for (size_t i = begin; i < end; ++i) {
            head += pieces[i].text;
            const bool joined = i + 1 < end && pieces[i + 1].target == pieces[i].target;
            if (joined) continue;
            const size_t to =
                i + 1 == end ? whole.size() : std::clamp(encode(head, first).size(), from, whole.size());
            const bool bears = pieces[i].target || train_on_inputs;
            for (; from < to; ++from) {
                out.ids.push_back(whole[from]);
                out.labels.push_back(bears ? whole[from] : kIgnoreLabel);
            }
        }
        begin = end;
    };
    for (size_t i = 0; i < pieces.size(); ++i) {
        const bool last = i + 1 == pieces.size();
        const bool divides = pieces[i].mark && !last && encode(pieces[i].text, false).size() == 1;
        if (!divides && !last) continue;
        flush(i + 1);
        text = pieces[i].text;
        first = false;
    }
    return out;
}

EncodedExample encode_causal(const TrainingPair& pair, const EncodeOptions& options,
                             const CausalVocabulary& vocabulary) {
    if (!pair.media.empty())
        throw Error::data(
            pair.source,
            ": expected text alone, got images, video or features, which this backbone does not read");
    Encoded encoded;
    if (!pair.pieces.empty()) {
        encoded.example = take_pieces(pair, options, vocabulary);
    } else if (!pair.input_ids.empty() || !pair.labels.empty()) {
        encoded.example = take_ids(pair, vocabulary);
        const auto& labels = encoded.example.labels;
        encoded.prompt =
            std::find_if(labels.begin(), labels.end(), [](int64_t l) { return l >= 0; }) - labels.begin();
    } else {
        encoded = encode_text(pair, options, vocabulary);
    }
    EncodedExample& out = encoded.example;
    out.media = pair.media;
    out.weight = pair.weight;
    const int64_t size = static_cast<int64_t>(out.input_ids.size()), extra = size - options.max_length;
    if (extra > 0) { // the left of the prompt goes, as far as there is one
        const int64_t kept =
            vocabulary.bos >= 0 && encoded.prompt > 0 && out.input_ids[0] == vocabulary.bos ? 1 : 0;
        out.cut_tokens = std::min(extra, std::max<int64_t>(0, encoded.prompt - kept));
        out.lost_target = out.cut_tokens < extra;
        out.input_ids.erase(out.input_ids.begin() + kept, out.input_ids.begin() + kept + out.cut_tokens);
        out.labels.erase(out.labels.begin() + kept, out.labels.begin() + kept + out.cut_tokens);
    }
    // a label of the first token is no target: nothing precedes it
    if (std::none_of(out.labels.begin() + std::min<size_t>(1, out.labels.size()), out.labels.end(),
                     [](int64_t l) { return l >= 0; }))
        out.lost_target = true;
    return out;
}

Seam encode_seam(const std::string& context, const std::string& continuation,
                 const CausalVocabulary& vocabulary) {
    const Tokenizer& tokenizer = need_tokenizer(vocabulary, "a score request");
    const size_t end = context.find_last_not_of(" \t\n\r\f\v") + 1; // npos + 1 = 0: nothing but white space
    const std::string left = context.substr(0, end), right = context.substr(end) + continuation;
    Seam seam;
    if (left.empty()) {
        const int64_t start = vocabulary.bos >= 0 ? vocabulary.bos : vocabulary.eos;
        if (start < 0)
            throw Error::data(
                "an empty context needs a BOS or end token to start from, and the checkpoint states none");
        return {{start}, tokenizer.encode(right, false)};
    }
    Ids whole = tokenizer.encode(left + right, true);
    seam.context = tokenizer.encode(left, true);
    const size_t split = std::min(seam.context.size(), whole.size());
    seam.continuation.assign(whole.begin() + split, whole.end());
    return seam;
}

double causal_loss_weight(const EncodedExample& example) {
    int64_t targets = 0;
    for (size_t i = 1; i < example.labels.size(); ++i) {
        const bool starts = std::find(example.segments.begin(), example.segments.end(),
                                      static_cast<int64_t>(i)) != example.segments.end();
        targets += example.labels[i] >= 0 && !starts;
    }
    return static_cast<double>(targets);
}

} // namespace dorabench
