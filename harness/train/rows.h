#pragma once
// From encoded examples to the rows that are trained on: rows without a target are dropped and counted, short
// ones are packed into one where packing is on.
#include "harness/train/train.h"

namespace dorabench {

struct TrainingRows {
    std::vector<const EncodedExample*> rows; // into the caller's examples, or into `packed`
    std::vector<double> weights;             // Backend::loss_weight of each row, > 0
    std::vector<int> source_of;              // of each row; all 0 for one source
    int64_t dropped = 0, cut = 0;            // left without a target; with a prompt that was cut
    std::vector<std::unique_ptr<EncodedExample>> packed;
};

// The row as epoch `epoch` trains on it: of soft targets one is drawn by its weight, a function of the seed,
// the epoch and the row's number alone (VL-T5 draws a VQA answer whenever it meets the question).
EncodedExample visit(const TrainingRows& rows, int64_t row, uint64_t seed, int64_t epoch);

// source_of: per example, or empty. Error::data when no row is left; Error::config when packing meets a
// backend whose labels are not aligned with its input (an encoder-decoder).
TrainingRows prepare_rows(const Backend& backend, const std::vector<EncodedExample>& examples,
                          const std::vector<int>& source_of, const TrainSettings& settings);

// Greedy concatenation in the given order: a pack is closed when the next example no longer fits in
// max_length. Each document's first label becomes -100, since nothing before it in its own document predicts
// it. Examples with media or a weight of their own stay alone.
std::vector<std::unique_ptr<EncodedExample>> pack_examples(std::span<const EncodedExample* const> examples,
                                                           int64_t max_length);

// 16 hex digits over ids, labels, media and weights in order: a checkpoint resumes only the data that it was
// made of.
std::string data_fingerprint(const TrainingRows& rows);

} // namespace dorabench
