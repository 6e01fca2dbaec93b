#include "harness/base/error.h"
#include "harness/train/batcher.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>
#include <set>

namespace dorabench {
namespace {

using Rows = std::vector<int64_t>;

Batcher one_source(int64_t rows, int64_t batch, bool shuffle = true, uint64_t seed = 3) {
    return Batcher(std::vector<int>(size_t(rows), 0), {batch, {}, shuffle, seed});
}

TEST(Batcher, WithoutShufflingTheDataKeepsItsOrderAndTheLastBatchIsShort) {
    Batcher b = one_source(7, 3, false);
    EXPECT_EQ(b.batches_per_epoch(), 3);
    EXPECT_EQ(b.batch(0), (Rows{0, 1, 2}));
    EXPECT_EQ(b.batch(2), (Rows{6}));
    EXPECT_EQ(b.batch(3), (Rows{0, 1, 2})); // the next epoch
}

TEST(Batcher, EveryEpochSeesEveryRowOnceInAnotherOrder) {
    Batcher b = one_source(50, 8);
    std::vector<Rows> epochs;
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
        Rows rows;
        for (int64_t i = 0; i < b.batches_per_epoch(); ++i) {
            const Rows batch = b.batch(epoch * b.batches_per_epoch() + i);
            EXPECT_EQ(batch.size(), i + 1 < b.batches_per_epoch() ? 8u : 2u);
            rows.insert(rows.end(), batch.begin(), batch.end());
        }
        Rows sorted = rows, all(50);
        std::sort(sorted.begin(), sorted.end());
        std::iota(all.begin(), all.end(), 0);
        EXPECT_EQ(sorted, all);
        epochs.push_back(rows);
    }
    EXPECT_NE(epochs[0], epochs[1]);
    EXPECT_NE(epochs[1], epochs[2]);
}

TEST(Batcher, AStepIsAFunctionOfTheSeedAndTheStepAlone) {
    Batcher forward = one_source(40, 4), jumping = one_source(40, 4), other = one_source(40, 4, true, 4);
    std::vector<Rows> batches;
    for (int64_t step = 0; step < 30; ++step) batches.push_back(forward.batch(step));
    for (int64_t step : {29, 3, 17, 3}) EXPECT_EQ(jumping.batch(step), batches[size_t(step)]) << step;
    EXPECT_NE(other.batch(0), batches[0]);
}

TEST(Batcher, EachBatchOfJointTrainingIsOfOneSourceWithItsOwnSize) {
    std::vector<int> source_of;
    for (int i = 0; i < 20; ++i) source_of.push_back(0);
    for (int i = 0; i < 9; ++i) source_of.push_back(1);
    for (int i = 0; i < 12; ++i) source_of.push_back(2);
    Batcher b(source_of,
              {4, {5, 2, 0}, true, 1}); // 4 + 5 + 3 batches; the third source has no size of its own
    EXPECT_EQ(b.batches_per_epoch(), 12);
    std::vector<int> order;
    std::set<int64_t> seen;
    for (int64_t step = 0; step < 12; ++step) {
        const Rows batch = b.batch(step);
        const int source = source_of[size_t(batch[0])];
        for (int64_t row : batch) {
            EXPECT_EQ(source_of[size_t(row)], source);
            EXPECT_TRUE(seen.insert(row).second);
        }
        EXPECT_LE(batch.size(), (std::vector<size_t>{5, 2, 4})[size_t(source)]);
        order.push_back(source);
    }
    EXPECT_EQ(seen.size(), 41u);
    EXPECT_EQ(std::count(order.begin(), order.end(), 0), 4);
    EXPECT_EQ(std::count(order.begin(), order.end(), 1), 5);
    EXPECT_EQ(std::count(order.begin(), order.end(), 2), 3);
    EXPECT_FALSE(std::is_sorted(order.begin(), order.end())); // mixed, not one source after the other
}

TEST(Batcher, RefusesNoRowsAndNoBatch) {
    EXPECT_THROW(one_source(0, 4), Error);
    EXPECT_THROW(one_source(4, 0), Error);
}

// Rows 0 to n-1; every third has no image; lengths go up and down.
Batcher grouped(const std::string& sampler, int64_t n, int64_t batch, uint64_t seed = 5) {
    Batcher::Options options{batch, {}, true, seed, sampler, {}};
    for (int64_t i = 0; i < n; ++i) options.shapes.push_back({1 + (i * 37) % 101, i % 3 != 0});
    return Batcher(std::vector<int>(size_t(n), 0), options);
}

TEST(Batcher, GroupingByModalityMakesBatchesOfOneKindAndLeavesTheRestForTheEnd) {
    Batcher b = grouped("group_by_modality_length", 50, 8); // 33 with images, 17 without
    EXPECT_EQ(b.batches_per_epoch(), 7);
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
        std::set<int64_t> seen;
        std::set<bool> kinds;
        for (int64_t i = 0; i < 7; ++i) {
            const Rows batch = b.batch(7 * epoch + i);
            EXPECT_EQ(batch.size(), i < 6 ? 8u : 2u);
            for (int64_t row : batch) {
                EXPECT_TRUE(seen.insert(row).second);
                if (i < 6) EXPECT_EQ(row % 3 != 0, batch[0] % 3 != 0) << "batch " << i;
            }
            kinds.insert(batch[0] % 3 != 0);
        }
        EXPECT_EQ(seen.size(), 50u);
        EXPECT_EQ(kinds.size(), 2u);
    }
    EXPECT_NE(b.batch(0), b.batch(7));
}

TEST(Batcher, GroupingByLengthSortsWithinStretchesAndBeginsWithTheLongest) {
    const int64_t n = 400, size = 4; // stretches of 25 batches
    Batcher b = grouped("group_by_length", n, size);
    auto length = [](int64_t row) { return 1 + (row * 37) % 101; };
    Rows order;
    for (int64_t i = 0; i < b.batches_per_epoch(); ++i)
        for (int64_t row : b.batch(i)) order.push_back(row);
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), size_t(n));
    EXPECT_EQ(length(order[0]), 101);
    int rises = 0;
    for (size_t i = 1; i < order.size(); ++i) rises += length(order[i]) > length(order[i - 1]);
    EXPECT_LE(rises, 5); // three seams, and where the longest went
    // shuffled rows would differ by a third of the range on average
    double spread = 0;
    for (int64_t i = 1; i + 1 < b.batches_per_epoch(); ++i)
        spread += double(length(b.batch(i)[0]) - length(b.batch(i)[3]));
    EXPECT_LT(spread / double(b.batches_per_epoch()), 12);
}

TEST(Batcher, GroupingIsAFunctionOfTheSeedAndTheStepAlone) {
    for (const char* sampler : {"group_by_length", "group_by_modality_length"}) {
        Batcher forward = grouped(sampler, 90, 7), jumping = grouped(sampler, 90, 7),
                other = grouped(sampler, 90, 7, 6);
        std::vector<Rows> batches;
        for (int64_t step = 0; step < 26; ++step) batches.push_back(forward.batch(step));
        for (int64_t step : {25, 3, 17, 3}) EXPECT_EQ(jumping.batch(step), batches[size_t(step)]) << step;
        EXPECT_NE(other.batch(1), batches[1]);
    }
}

TEST(Batcher, GroupingWithoutShufflingIsRefused) {
    Batcher::Options options{2, {}, false, 1, "group_by_length", {{1, false}, {2, false}}};
    EXPECT_THROW(Batcher({0, 0}, options), Error);
}

} // namespace
} // namespace dorabench
