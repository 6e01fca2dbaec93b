#pragma once
// Which rows a step trains on: a pure function of (seed, step), so that resuming needs no sampler state but
// the step. An epoch's order comes from the stream "data-epoch<e>"; the last batch of an epoch may be short
// (as HF's drop_last=False). Several sources (tasks trained jointly): each batch comes from one source; an
// epoch has one entry for every batch of every source, shuffled (VL-Adapter's multitask loader).
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dorabench {

//
// The sampler decides what a source's batches are made of:
//   random                      shuffled rows
//   group_by_length             as HF's LengthGroupedSampler: shuffled rows in stretches of up to 50 batches,
//   each stretch
//                               by falling length, the longest row of all in front (a lack of memory shows at
//                               once)
//   group_by_modality_length    as LLaVA's: rows with images and rows without are shuffled apart, a batch is
//   of one
//                               kind, and what is left of both makes up the last batches. LLaVA sorts each
//                               batch by length, too, to share it out among devices; here the trainer sorts
//                               by its micro-batches.
struct RowShape {
    int64_t length = 0; // ids; an image counts 128, as in LLaVA's lengths
    bool images = false;
};

class Batcher {
public:
    struct Options {
        int64_t batch_size = 16;
        std::vector<int64_t> batch_size_of; // per source; 0 or absent: batch_size
        bool shuffle = true;                // false: the data's order, source after source
        uint64_t seed = 0;
        std::string sampler = "random";
        std::vector<RowShape> shapes; // one per row, read by the other samplers
    };
    // Error::config for a sampler that does not go with shuffle: false or has no shapes.
    Batcher(const std::vector<int>& source_of /* one per row */, Options options);
    int64_t batches_per_epoch() const { return batches_per_epoch_; }
    std::vector<int64_t> batch(int64_t step); // row numbers

private:
    void make_epoch(int64_t epoch);
    std::vector<int64_t> order(size_t source, class Rng& rng, size_t& whole) const;
    int64_t batch_size(size_t source) const;

    Options options_;
    std::vector<std::vector<int64_t>> rows_of_; // per source
    int64_t batches_per_epoch_ = 0, epoch_ = -1;
    std::vector<std::vector<int64_t>> batches_; // of epoch_
};

} // namespace dorabench
