#include "backends/llava/prompt.h"
#include "harness/base/error.h"
#include <algorithm>

namespace dorabench {
namespace {

constexpr std::string_view kMark = "<image>";

int64_t count_of(const std::string& text) {
    int64_t count = 0;
    for (size_t at = 0; (at = text.find(kMark, at)) != std::string::npos; at += kMark.size()) ++count;
    return count;
}

// Whether every maximal run of image ids is a whole number of images' patches.
bool expanded(const Ids& ids, const LlavaVocabulary& vocabulary) {
    int64_t run = 0;
    for (size_t i = 0; i <= ids.size(); ++i) {
        const bool image = i < ids.size() && (ids[i] == vocabulary.image_id || ids[i] == kImageMark);
        if (image)
            ++run;
        else if (run % vocabulary.patches != 0)
            return false;
        else
            run = 0;
    }
    return true;
}

void check_labels(const Ids& labels, const LlavaVocabulary& vocabulary, const std::string& what) {
    for (int64_t label : labels)
        if (label != kIgnoreLabel && (label < 0 || label >= vocabulary.words.size))
            throw Error::data(what, ": labels must be ", kIgnoreLabel, " or in [0, ", vocabulary.words.size,
                              "), got ", label);
}

struct Marked {
    Ids ids, labels;
    size_t prompt = 0; // leading entries that may be cut
};

Marked take_ids(const TrainingPair& pair, const LlavaVocabulary& vocabulary) {
    Marked out;
    out.labels = pair.labels.empty() ? pair.input_ids : pair.labels;
    if (pair.labels.empty()) // an image is no target
        std::replace_if(
            out.labels.begin(), out.labels.end(),
            [&](int64_t id) { return id == kImageMark || id == vocabulary.image_id; }, kIgnoreLabel);
    if (out.labels.size() != pair.input_ids.size())
        throw Error::data(pair.source, ": labels must be as many as input_ids (", pair.input_ids.size(),
                          "), got ", out.labels.size());
    check_labels(out.labels, vocabulary, pair.source);
    out.ids = marked_ids(pair.input_ids, &out.labels, pair.media.images.size(), vocabulary, pair.source);
    out.prompt = static_cast<size_t>(
        std::find_if(out.labels.begin(), out.labels.end(), [](int64_t label) { return label >= 0; }) -
        out.labels.begin());
    return out;
}

Marked take_text(const TrainingPair& pair, const EncodeOptions& options, const LlavaVocabulary& vocabulary) {
    Marked out;
    out.ids = marked_text(pair.prompt + pair.target, true, vocabulary, pair.source);
    check_images(out.ids, pair.media, pair.source);
    const int64_t eos = vocabulary.words.eos;
    const bool ended = !out.ids.empty() && out.ids.back() == eos;
    if (eos >= 0 && !ended && expanded_length(out.ids, vocabulary.patches) < options.max_length)
        out.ids.push_back(eos);
    out.prompt = std::min(marked_text(pair.prompt, true, vocabulary, pair.source).size(), out.ids.size());
    out.labels = out.ids;
    std::replace(out.labels.begin(), out.labels.end(), kImageMark, kIgnoreLabel);
    if (!options.train_on_inputs)
        std::fill_n(out.labels.begin(), static_cast<std::ptrdiff_t>(out.prompt), kIgnoreLabel);
    return out;
}

// A conversation; what does not fit goes from its end, as LLaVA cuts it, and an image that does not fit takes
// the row along: its marks are then fewer than its images.
EncodedExample take_pieces(const TrainingPair& pair, const EncodeOptions& options,
                           const LlavaVocabulary& vocabulary) {
    const bool images = !pair.media.images.empty(); // without any, "<image>" is text like any other
    PieceRow row = encode_pieces(
        pair.pieces,
        [&](const std::string& text, bool special) {
            return images ? marked_text(text, special, vocabulary, pair.source)
                          : need_tokenizer(vocabulary.words, pair.source).encode(text, special);
        },
        options.train_on_inputs);
    check_images(row.ids, pair.media, pair.source);
    std::replace(row.labels.begin(), row.labels.end(), kImageMark, kIgnoreLabel);
    EncodedExample out;
    int64_t length = 0;
    size_t kept = 0;
    while (kept < row.ids.size()) {
        length += row.ids[kept] == kImageMark ? vocabulary.patches : 1;
        if (length > options.max_length) break;
        ++kept;
    }
    const auto rest = row.ids.begin() + static_cast<std::ptrdiff_t>(kept);
    out.lost_target = std::find(rest, row.ids.end(), kImageMark) != row.ids.end();
    out.cut_tokens = row.ids.end() - rest;
    const int64_t eos = vocabulary.words.eos;
    const bool ended = !row.ids.empty() && row.ids.back() == eos;
    row.ids.resize(kept), row.labels.resize(kept);
    if (eos >= 0 && !ended && out.cut_tokens == 0 && length < options.max_length)
        row.ids.push_back(eos), row.labels.push_back(eos);
    out.input_ids = std::move(row.ids);
    out.labels = std::move(row.labels);
    return out;
}

} // namespace

int64_t ImageBook::slot(const std::string& file) {
    const auto [at, fresh] = slots_.try_emplace(file, static_cast<int64_t>(files_.size()));
    if (fresh) files_.push_back(file);
    return at->second;
}

Ids marked_text(const std::string& text, bool special, const LlavaVocabulary& vocabulary,
                const std::string& what) {
    const Tokenizer& tokenizer = need_tokenizer(vocabulary.words, what);
    const int64_t images = count_of(text);
    if (images == 0) return tokenizer.encode(text, special);
    if (vocabulary.image_id >= 0) {
        Ids whole = tokenizer.encode(text, special);
        if (std::count(whole.begin(), whole.end(), vocabulary.image_id) == images) {
            std::replace(whole.begin(), whole.end(), vocabulary.image_id, kImageMark);
            return whole;
        }
    }
    Ids out;
    for (size_t at = 0;;) {
        const size_t next = text.find(kMark, at);
        const std::string chunk = text.substr(at, next == std::string::npos ? next : next - at);
        const Ids ids = chunk.empty() && at > 0 ? Ids() : tokenizer.encode(chunk, special && at == 0);
        out.insert(out.end(), ids.begin(), ids.end());
        if (next == std::string::npos) return out;
        out.push_back(kImageMark);
        at = next + kMark.size();
    }
}

Ids marked_ids(const Ids& ids, Ids* labels, size_t images, const LlavaVocabulary& vocabulary,
               const std::string& what) {
    auto is_image = [&](int64_t id) { return id == kImageMark || id == vocabulary.image_id; };
    const auto found = static_cast<size_t>(std::count_if(ids.begin(), ids.end(), is_image));
    const bool patches = found != images && images > 0 &&
                         found == images * static_cast<size_t>(vocabulary.patches) &&
                         expanded(ids, vocabulary);
    if (found != images && !patches)
        throw Error::data(what, ": expected as many image tokens (id ", vocabulary.image_id,
                          ") as there are images, ", images, ", got ", found);
    Ids out, kept;
    int64_t patch = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
        if (!is_image(ids[i])) {
            if (ids[i] < 0 || ids[i] >= vocabulary.words.size)
                throw Error::data(what, ": ids must lie in [0, ", vocabulary.words.size,
                                  "), the vocabulary; got ", ids[i]);
            patch = 0;
        } else if (patches && patch++ % vocabulary.patches != 0) {
            continue;
        }
        out.push_back(is_image(ids[i]) ? kImageMark : ids[i]);
        if (labels) kept.push_back(is_image(ids[i]) ? kIgnoreLabel : (*labels)[i]);
    }
    if (labels) *labels = std::move(kept);
    return out;
}

void check_images(const Ids& marked, const Media& media, const std::string& what) {
    if (!media.video.empty() || !media.features.empty())
        throw Error::data(what, ": expected images, got a video or ready-made features, which this backbone "
                                "does not read");
    const auto marks = static_cast<size_t>(std::count(marked.begin(), marked.end(), kImageMark));
    if (marks != media.images.size())
        throw Error::data(what, ": expected as many <image> marks as there are images, ", media.images.size(),
                          ", got ", marks);
}

int64_t expanded_length(const Ids& marked, int64_t patches) {
    const int64_t images = std::count(marked.begin(), marked.end(), kImageMark);
    return static_cast<int64_t>(marked.size()) + images * (patches - 1);
}

int64_t cut_text(Ids& marked, Ids* labels, size_t end, int64_t most, const LlavaVocabulary& vocabulary) {
    int64_t extra = expanded_length(marked, vocabulary.patches) - std::max<int64_t>(1, most);
    if (extra <= 0) return 0;
    int64_t cut = 0;
    size_t to = !marked.empty() && vocabulary.words.bos >= 0 && marked[0] == vocabulary.words.bos && most > 1;
    for (size_t from = to; from < marked.size(); ++from) {
        if (from < end && extra > 0 && marked[from] != kImageMark) {
            --extra, ++cut;
            continue;
        }
        marked[to] = marked[from];
        if (labels) (*labels)[to] = (*labels)[from];
        ++to;
    }
    marked.resize(to);
    if (labels) labels->resize(to);
    return cut;
}

void append_codes(const Ids& marked, size_t begin, size_t end, const std::vector<std::string>& images,
                  size_t& next, int64_t patches, ImageBook& book, std::vector<int64_t>& codes) {
    for (size_t i = begin; i < end; ++i) {
        if (marked[i] != kImageMark) {
            codes.push_back(marked[i]);
            continue;
        }
        TORCH_CHECK(next < images.size(), "[llava] more image tokens than images (", images.size(), ")");
        const int64_t first = book.slot(images[next++]) * patches;
        for (int64_t patch = 0; patch < patches; ++patch) codes.push_back(-1 - (first + patch));
    }
}

EncodedExample encode_llava(const TrainingPair& pair, const EncodeOptions& options,
                            const LlavaVocabulary& vocabulary) {
    EncodedExample out;
    if (!pair.pieces.empty()) {
        out = take_pieces(pair, options, vocabulary);
    } else {
        const bool ready = !pair.input_ids.empty() || !pair.labels.empty();
        Marked marked = ready ? take_ids(pair, vocabulary) : take_text(pair, options, vocabulary);
        check_images(marked.ids, pair.media, pair.source);
        out.cut_tokens = cut_text(marked.ids, &marked.labels, marked.prompt, options.max_length, vocabulary);
        out.input_ids = std::move(marked.ids);
        out.labels = std::move(marked.labels);
    }
    out.media = pair.media;
    out.weight = pair.weight;
    // a label of the first token is no target: nothing precedes it
    const bool target = std::any_of(out.labels.begin() + std::min<size_t>(1, out.labels.size()),
                                    out.labels.end(), [](int64_t label) { return label >= 0; });
    out.lost_target |= !target || expanded_length(out.input_ids, vocabulary.patches) > options.max_length;
    return out;
}

} // namespace dorabench
