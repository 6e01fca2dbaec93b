#include "harness/train/batcher.h"
#include "harness/base/error.h"
#include "harness/base/rng.h"
#include <algorithm>

namespace dorabench {

Batcher::Batcher(const std::vector<int>& source_of, Options options) : options_(std::move(options)) {
    if (options_.batch_size < 1)
        throw Error::config("train.batch_size must be at least 1, got ", options_.batch_size);
    for (size_t row = 0; row < source_of.size(); ++row) {
        if (source_of[row] < 0)
            throw Error::internal("[batcher] source must be at least 0, got ", source_of[row]);
        if (rows_of_.size() <= size_t(source_of[row])) rows_of_.resize(size_t(source_of[row]) + 1);
        rows_of_[size_t(source_of[row])].push_back(int64_t(row));
    }
    for (size_t source = 0; source < rows_of_.size(); ++source) {
        const int64_t size = batch_size(source);
        batches_per_epoch_ += (int64_t(rows_of_[source].size()) + size - 1) / size;
    }
    if (batches_per_epoch_ == 0) throw Error::data("expected at least one training row, got none");
}

int64_t Batcher::batch_size(size_t source) const {
    const bool own = source < options_.batch_size_of.size() && options_.batch_size_of[source] > 0;
    return own ? options_.batch_size_of[source] : options_.batch_size;
}

void Batcher::make_epoch(int64_t epoch) {
    Rng rng(options_.seed, cat("data-epoch", epoch));
    batches_.clear();
    for (size_t source = 0; source < rows_of_.size(); ++source) {
        std::vector<int64_t> rows = rows_of_[source];
        if (options_.shuffle) rng.shuffle(rows);
        const auto size = size_t(batch_size(source));
        for (size_t at = 0; at < rows.size(); at += size)
            batches_.emplace_back(rows.begin() + int64_t(at),
                                  rows.begin() + int64_t(std::min(rows.size(), at + size)));
    }
    // one source keeps its short batch at the end, as a data loader does
    if (options_.shuffle && rows_of_.size() > 1) rng.shuffle(batches_);
    epoch_ = epoch;
}

std::vector<int64_t> Batcher::batch(int64_t step) {
    const int64_t epoch = step / batches_per_epoch_;
    if (epoch != epoch_) make_epoch(epoch);
    return batches_[size_t(step % batches_per_epoch_)];
}

} // namespace dorabench
