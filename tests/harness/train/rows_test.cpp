#include "harness/train/rows.h"
#include "tests/harness/train/toy.h"
#include <gtest/gtest.h>
#include <set>

namespace dorabench {
namespace {

using test::ToyBackend;

EncodedExample row(Ids ids, int64_t index = 0) {
    EncodedExample e;
    e.labels = ids, e.input_ids = std::move(ids), e.index = index;
    return e;
}

TrainSettings packing(int64_t max_length) {
    TrainSettings s;
    s.packing = true, s.max_length = max_length;
    return s;
}

TEST(TrainingRows, RowsWithoutATargetAreDroppedAndCounted) {
    ToyBackend backend;
    std::vector<EncodedExample> examples{row({1, 2, 3}), row({1, 2}), row({4, 5, 6}), row({7, 8}), row({})};
    examples[1].lost_target = true;
    examples[3].labels = {kIgnoreLabel, kIgnoreLabel};
    examples[2].cut_tokens = 5;
    const TrainingRows rows = prepare_rows(backend, examples, {0, 0, 1, 0, 1}, TrainSettings{});
    ASSERT_EQ(rows.rows.size(), 2u);
    EXPECT_EQ(rows.dropped, 3);
    EXPECT_EQ(rows.cut, 1);
    EXPECT_EQ(rows.source_of, (std::vector<int>{0, 1}));
    EXPECT_EQ(rows.weights, (std::vector<double>{2, 2}));
}

TEST(TrainingRows, SoftTargetsAreDrawnAnewInEveryEpochByTheirWeight) {
    ToyBackend backend;
    std::vector<EncodedExample> examples{row({1, 2, 3}), row({4, 5, 6})};
    examples[1].soft_targets = {{{4, 5, 6}, 1.0}, {{4, 7, 8}, 0.3}, {{4, 9, 9}, 0}};
    const TrainingRows rows = prepare_rows(backend, examples, {}, TrainSettings{});
    EXPECT_EQ(visit(rows, 0, 7, 3).labels, (Ids{1, 2, 3})); // nothing to draw
    int heavy = 0;
    std::set<Ids> early;
    for (int64_t epoch = 0; epoch < 400; ++epoch) {
        const EncodedExample seen = visit(rows, 1, 7, epoch);
        ASSERT_TRUE(seen.soft_targets.empty());
        ASSERT_EQ(seen.weight, seen.labels == (Ids{4, 5, 6}) ? 1.0 : 0.3);
        ASSERT_NE(seen.labels, (Ids{4, 9, 9}));
        ASSERT_EQ(seen.labels, visit(rows, 1, 7, epoch).labels); // a function of seed, epoch and row
        heavy += seen.weight == 1;
        if (epoch < 20) early.insert(seen.labels);
    }
    EXPECT_EQ(early.size(), 2u);
    EXPECT_NEAR(heavy / 400.0, 1 / 1.3, 0.085); // four standard errors
    const std::string before = data_fingerprint(rows);
    examples[1].soft_targets[1].weight = 0.6;
    EXPECT_NE(data_fingerprint(rows), before);
}

TEST(TrainingRows, NoRowLeftIsADataError) {
    ToyBackend backend;
    std::vector<EncodedExample> examples{row({1, 2, 3})};
    examples[0].lost_target = true;
    try {
        prepare_rows(backend, examples, {}, TrainSettings{});
        FAIL() << "expected an error";
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        EXPECT_NE(std::string(e.what()).find("max_length"), std::string::npos);
    }
}

TEST(Packing, FillsEachPackGreedilyAndMarksWhereDocumentsStart) {
    ToyBackend backend;
    const std::vector<EncodedExample> examples{row({1, 2, 3}), row({4, 5, 6, 7}), row({8, 9, 1}),
                                               row({2, 3})};
    const TrainingRows rows = prepare_rows(backend, examples, {}, packing(8));
    ASSERT_EQ(rows.rows.size(), 2u);
    EXPECT_EQ(rows.rows[0]->input_ids, (Ids{1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(rows.rows[0]->labels, (Ids{1, 2, 3, kIgnoreLabel, 5, 6, 7}));
    EXPECT_EQ(rows.rows[0]->segments, (std::vector<int64_t>{0, 3}));
    EXPECT_EQ(rows.rows[1]->segments, (std::vector<int64_t>{0, 3}));
    EXPECT_EQ(rows.weights, (std::vector<double>{5, 3})); // no document loses or gains a target
}

TEST(Packing, ALoneDocumentHasNoSegmentsAndALongOneStaysWhole) {
    ToyBackend backend;
    const std::vector<EncodedExample> examples{row({1, 2, 3, 4, 5, 6}), row({7, 8})};
    const TrainingRows rows = prepare_rows(backend, examples, {}, packing(4));
    ASSERT_EQ(rows.rows.size(), 2u);
    EXPECT_TRUE(rows.rows[0]->segments.empty());
    EXPECT_EQ(rows.rows[0]->input_ids.size(), 6u);
}

TEST(Packing, NeverMixesSourcesOrWeightedExamples) {
    ToyBackend backend;
    std::vector<EncodedExample> examples{row({1, 2}), row({3, 4}), row({5, 6}), row({7, 8}), row({9, 1})};
    examples[4].weight = 0.3;
    const TrainingRows rows = prepare_rows(backend, examples, {0, 1, 0, 1, 0}, packing(64));
    ASSERT_EQ(rows.rows.size(), 3u);
    EXPECT_EQ(rows.rows[0]->input_ids, (Ids{1, 2, 5, 6}));
    EXPECT_EQ(rows.rows[1]->input_ids, (Ids{9, 1}));
    EXPECT_EQ(rows.rows[2]->input_ids, (Ids{3, 4, 7, 8}));
    EXPECT_EQ(rows.source_of, (std::vector<int>{0, 0, 1}));
}

TEST(Packing, TheLossOfAPackIsTheSumOfItsDocuments) {
    ToyBackend backend;
    const std::vector<EncodedExample> examples = test::toy_examples(6);
    const TrainingRows rows = prepare_rows(backend, examples, {}, packing(64));
    ASSERT_EQ(rows.rows.size(), 1u);
    at::NoGradGuard no_grad;
    const double alone = backend.loss_sum(examples).item<double>();
    const double packed = backend.loss_sum(std::span(rows.rows[0], 1)).item<double>();
    EXPECT_NEAR(packed, alone, 1e-4 * alone);
}

TEST(Packing, RefusesAnEncoderDecoder) {
    ToyBackend backend;
    std::vector<EncodedExample> examples{row({1, 2, 3})};
    examples[0].labels = {4, 5};
    EXPECT_THROW(prepare_rows(backend, examples, {}, packing(8)), Error);
}

TEST(TrainingRows, TheFingerprintSeesEveryIdAndTheOrder) {
    ToyBackend backend;
    const auto of = [&](const std::vector<EncodedExample>& examples) {
        return data_fingerprint(prepare_rows(backend, examples, {}, TrainSettings{}));
    };
    const std::vector<EncodedExample> a{row({1, 2, 3}), row({4, 5})}, b{row({4, 5}), row({1, 2, 3})};
    std::vector<EncodedExample> c = a;
    c[0].labels[0] = kIgnoreLabel;
    EXPECT_EQ(of(a), of(a));
    EXPECT_NE(of(a), of(b));
    EXPECT_NE(of(a), of(c));
}

} // namespace
} // namespace dorabench
