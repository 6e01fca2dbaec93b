#include "harness/train/batcher.h"
#include "harness/base/error.h"
#include "harness/base/rng.h"
#include <algorithm>

namespace dorabench {

Batcher::Batcher(const std::vector<int>& source_of, Options options) : options_(std::move(options)) {
    if (options_.batch_size < 1)
        throw Error::config("train.batch_size must be at least 1, got ", options_.batch_size);
    if (options_.sampler != "random") {
        if (!options_.shuffle)
            throw Error::config("train.sampler: ", options_.sampler,
                                " draws a new order every epoch; expected shuffle: true with it, got false");
        if (options_.shapes.size() != source_of.size())
            throw Error::internal("[batcher] expected the shape of each of ", source_of.size(), " rows, got ",
                                  options_.shapes.size());
    }
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

// A source's rows in the epoch's order; the first `whole` batches of it may change places.
std::vector<int64_t> Batcher::order(size_t source, Rng& rng, size_t& whole) const {
    std::vector<int64_t> rows = rows_of_[source];
    const auto size = size_t(batch_size(source));
    whole = 0;
    if (options_.shuffle) rng.shuffle(rows);
    if (options_.sampler == "group_by_length") {
        auto longer = [&](int64_t a, int64_t b) {
            return options_.shapes[size_t(a)].length > options_.shapes[size_t(b)].length;
        };
        // HF's: 50 batches, or fewer so that there are at least 4 stretches
        const size_t stretch = size * std::clamp<size_t>(rows.size() / (size * 4), 1, 50);
        for (size_t at = 0; at < rows.size(); at += stretch)
            std::stable_sort(rows.begin() + int64_t(at),
                             rows.begin() + int64_t(std::min(rows.size(), at + stretch)), longer);
        size_t longest = 0; // each stretch begins with its longest
        for (size_t at = 0; at < rows.size(); at += stretch)
            if (longer(rows[at], rows[longest])) longest = at;
        if (!rows.empty()) std::swap(rows[0], rows[longest]);
    } else if (options_.sampler == "group_by_modality_length") {
        const auto text = std::stable_partition(
            rows.begin(), rows.end(), [&](int64_t row) { return options_.shapes[size_t(row)].images; });
        const size_t with = size_t(text - rows.begin()), spare = with % size;
        // [images, whole batches][text, whole batches][what is left of both]
        std::rotate(rows.begin() + int64_t(with - spare), text,
                    rows.end() - int64_t((rows.size() - with) % size));
        whole = with / size + (rows.size() - with) / size;
    }
    return rows;
}

void Batcher::make_epoch(int64_t epoch) {
    Rng rng(options_.seed, cat("data-epoch", epoch));
    batches_.clear();
    for (size_t source = 0; source < rows_of_.size(); ++source) {
        size_t whole = 0;
        const std::vector<int64_t> rows = order(source, rng, whole);
        const auto size = size_t(batch_size(source));
        std::vector<std::vector<int64_t>> own;
        for (size_t at = 0; at < rows.size(); at += size)
            own.emplace_back(rows.begin() + int64_t(at),
                             rows.begin() + int64_t(std::min(rows.size(), at + size)));
        if (whole > 0) {
            std::vector<std::vector<int64_t>> front(own.begin(), own.begin() + int64_t(whole));
            rng.shuffle(front);
            std::copy(front.begin(), front.end(), own.begin());
        }
        batches_.insert(batches_.end(), own.begin(), own.end());
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
