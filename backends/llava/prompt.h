#pragma once
// Rows of ids with images in them. Three forms:
//   as given   text with <image>, or ids with the checkpoint's image id (one an image, or one a patch)
//   marked     ids with one kImageMark an image: what an EncodedExample holds
//   codes      what the decoder runs over: one entry a token or patch; a patch of the image in slot s of an
//              ImageBook is -1 - (s * patches + patch), so that equal codes mean equal embeddings
#include "backends/llava/config.h"
#include "backends/nn/causal_text.h"
#include <unordered_map>

namespace dorabench {

struct LlavaVocabulary {
    CausalVocabulary words;
    int64_t image_id = kImageMark; // kImageMark itself is understood in every layout
    int64_t patches = 0;           // embeddings of one image
};

// The image files of some rows, each once.
class ImageBook {
public:
    int64_t slot(const std::string& file);
    const std::string& file(int64_t slot) const { return files_.at(static_cast<size_t>(slot)); }
    size_t size() const { return files_.size(); }

private:
    std::vector<std::string> files_;
    std::unordered_map<std::string, int64_t> slots_;
};

// The text's chunks between <image> marks encoded one by one, the first with the special tokens that begin a
// text; a tokenizer that knows <image> as the image token encodes the whole at once, as its processor does.
Ids marked_text(const std::string& text, bool special, const LlavaVocabulary& vocabulary,
                const std::string& what);
// labels (may be null) follow; an image's label is -100. Error::data (what: "request 7") when the number of
// image tokens is not the number of images, or an id is outside the vocabulary.
Ids marked_ids(const Ids& ids, Ids* labels, size_t images, const LlavaVocabulary& vocabulary,
               const std::string& what);
// Error::data when the marks are not as many as the images.
void check_images(const Ids& marked, const Media& media, const std::string& what);

int64_t expanded_length(const Ids& marked, int64_t patches);
// Drops text on the left (not a leading BOS, not an image) until at most `most` codes remain, or no text
// before `end` is left; labels may be null. Returns how many tokens went.
int64_t cut_text(Ids& marked, Ids* labels, size_t end, int64_t most, const LlavaVocabulary& vocabulary);
// Appends the codes of marked[begin, end); images: the files of the row, `next` the first one not used yet.
void append_codes(const Ids& marked, size_t begin, size_t end, const std::vector<std::string>& images,
                  size_t& next, int64_t patches, ImageBook& book, std::vector<int64_t>& codes);

EncodedExample encode_llava(const TrainingPair& pair, const EncodeOptions& options,
                            const LlavaVocabulary& vocabulary);

} // namespace dorabench
