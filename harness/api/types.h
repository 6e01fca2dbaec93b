#pragma once
// The nouns that pass between tasks, backends, training and evaluation. No torch.
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace dorabench {

using Ids = std::vector<int64_t>;
inline constexpr int64_t kIgnoreLabel = -100; // a label that bears no loss (HF's)

// What is not text in an example or request. Empty for text.
struct Media {
    std::vector<std::string> images; // files, in the order of the prompt's <image> marks
    std::string video;               // a file
    std::string features;            // VL-BART: a safetensors file with feats [N, D] and boxes [N, 4]; or
                                     // n_images such files, one a line
    int64_t n_images = 1;            // VL-BART: the N rows are split evenly among these
    bool empty() const { return images.empty() && video.empty() && features.empty(); }
};

// Encoder-decoders: an example's loss is the mean of its own target tokens times its weight and counts as one
// (VL-T5's tasks), or each of its tokens counts as one (HF's mean). automatic: the backend's rule.
enum class LossMean { automatic, tokens, example };

// A stretch of a training text, of which some bear loss: a conversation's turns.
struct TextPiece {
    std::string text;
    bool target = false;
    bool mark = false; // the special token that ends a turn: what follows is encoded on its own
};

// One training example as text (or as ready-made ids): what a task or a data file gives.
struct TrainingPair {
    std::string id;
    std::string prompt, target;
    std::vector<TextPiece> pieces; // a text of several targets, in order; then prompt and target are empty
    Ids input_ids, labels; // ready-made; then prompt and target are empty
    Media media;
    double weight = 1; // of this example's loss (VQA soft scores)
    // Answers with their weights: every epoch trains on one of them, drawn by weight. Then target and weight
    // are those of the heaviest, which backends without soft targets train on. Empty: target alone.
    std::vector<std::pair<std::string, double>> soft_targets;
    int64_t max_prompt = 0, max_target = 0; // the task's own limits in tokens, special ones counted; 0: none
    LossMean loss_mean = LossMean::automatic;
    std::string source; // "file:record", for messages
};

// An answer as a backend reads it, and its weight, which is also its chance among its fellows.
struct SoftTarget {
    Ids labels;
    double weight = 1;
};

// One training example as a backend reads it. Causal LMs: labels are aligned with input_ids (unshifted).
// Encoder-decoders: input_ids are the source, labels the target.
struct EncodedExample {
    Ids input_ids, labels;
    std::vector<int64_t> segments; // packing: start index of every packed document; empty: one document
    Media media;
    double weight = 1;
    std::vector<SoftTarget> soft_targets; // two or more: each epoch puts one drawn by weight into labels and
                                          // weight, which hold the heaviest for measuring
    LossMean loss_mean = LossMean::automatic;
    int64_t index = 0;        // row in the data, for the order and for messages
    int64_t cut_tokens = 0;   // tokens that max_length, or the task's own limits, cut
    bool lost_target = false; // no target left: dropped by the trainer, and counted
};

struct EncodeOptions {
    int64_t max_length = 256;
    bool train_on_inputs = true;
};

struct GenerateOptions { // HF's names and meanings
    int64_t num_beams = 1, max_new_tokens = 32, min_new_tokens = 0;
    double length_penalty = 1;
    std::string early_stopping = "false"; // true | false | never
    std::vector<int64_t> eos_token_ids;   // empty with eos_set: none
    bool eos_set = false;                 // false: the checkpoint's generation_config
    double repetition_penalty = 1;
    int64_t no_repeat_ngram_size = 0;
    double temperature = 0; // > 0 switches sampling on
    double top_p = 1;
    int64_t top_k = 0;
    uint64_t seed = 0;
    int64_t forced_eos_token_id = -1, forced_bos_token_id = -1; // -1: the checkpoint's; -2: none
    std::vector<std::string> stop;                              // strings that end the text (few-shot)
    // evaluation only: a regular expression whose first match decides the answer; decoding ends early once
    // every live beam holds the same first match with text behind it (the answer cannot change any more).
    // Empty: off
    std::string decided;
};

struct Request {
    enum class Kind { score, generate };
    Kind kind = Kind::generate;
    std::string id;
    std::string context, continuation; // text; generate uses context as the prompt
    Ids context_ids, continuation_ids; // used where has_ids
    bool has_ids = false;
    int64_t max_context = 0; // encoder-decoders: tokens that the source is cut to, special ones counted; 0: none
    Media media;
    GenerateOptions generate;
};

struct Response {
    // score
    double loglikelihood = 0;
    bool is_greedy = false;
    int64_t tokens = 0; // continuation tokens that were scored
    // generate
    std::string text;          // without special tokens
    Ids ids;                   // new tokens up to and including the end token
    std::string finish_reason; // eos | length | stop | decided
    // both
    int64_t prompt_tokens = 0, cut_tokens = 0; // after and by truncation
};

// A metric's value with its uncertainty. value is a fraction, never a percent.
struct Measurement {
    double value = 0, stderr_ = 0, ci_low = 0, ci_high = 0;
    int64_t n = 0;
    bool missing = false;
};

} // namespace dorabench
