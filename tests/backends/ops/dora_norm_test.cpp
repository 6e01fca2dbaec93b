#include "backends/ops/dora_norm.h"
#include "backends/ops/references.h"
#include "tests/support/tensors.h"

namespace dorabench {
namespace {

struct Shape {
    int64_t out, in, rank;
};

at::Tensor reference(const at::Tensor& w, const at::Tensor& a, const at::Tensor& b, double s) {
    return ref::row_norms(w.to(at::kDouble) + s * at::mm(b.to(at::kDouble), a.to(at::kDouble)));
}

class DoraNormShapes : public ::testing::TestWithParam<Shape> {};

TEST_P(DoraNormShapes, MatchesTheMaterialisedRowsInEveryType) {
    const Shape shape = GetParam();
    auto from = test::generator(3);
    for (auto [type, tolerance] :
         {std::pair{at::kDouble, 1e-13}, {at::kFloat, 5e-7}, {at::kBFloat16, 5e-7}, {at::kHalf, 5e-7}}) {
        const at::Tensor w = test::randn({shape.out, shape.in}, from, type);
        const at::Tensor a = test::randn({shape.rank, shape.in}, from, type);
        const at::Tensor b = test::randn({shape.out, shape.rank}, from, type);
        const NormTerms terms = dora_norm(w, squared_row_norms(w), a, b, 0.7);
        EXPECT_TRUE(
            test::close(terms.norm / reference(w, a, b, 0.7), at::ones({shape.out}, at::kDouble), tolerance))
            << type;
    }
}
INSTANTIATE_TEST_SUITE_P(Odd, DoraNormShapes,
                         ::testing::Values(Shape{1, 1, 1}, Shape{37, 129, 5}, Shape{2, 4099, 3},
                                           Shape{513, 16, 16}, Shape{64, 31, 1}, Shape{45, 700, 33},
                                           Shape{19, 1030, 80}));

TEST(DoraNorm, EqualsTheBasesNormBitForBitWhenBIsZero) {
    auto from = test::generator(4);
    const at::Tensor w = test::randn({97, 61}, from, at::kFloat), a = test::randn({4, 61}, from, at::kFloat);
    const at::Tensor w2 = squared_row_norms(w);
    const at::Tensor c = dora_norm(w, w2, a, at::zeros({97, 4}), 2.0).norm;
    EXPECT_TRUE(test::same_bits(c, w2.sqrt().to(at::kFloat)));
    EXPECT_TRUE(test::same_bits(dora_gain(c, c), at::ones({97})));
}

TEST(DoraNorm, RecomputesRowsWhoseTermsCancel) {
    auto from = test::generator(5);
    const int64_t out = 40, in = 256, rank = 8;
    const at::Tensor a = test::randn({rank, in}, from, at::kFloat);
    const at::Tensor b = test::randn({out, rank}, from, at::kFloat);
    for (double remainder : {0.05, 1e-2, 1e-3}) { // W = -s B A + a little
        const at::Tensor w = (-2.0 * at::mm(b, a)) + remainder * test::randn({out, in}, from, at::kFloat);
        const at::Tensor c = dora_norm(w, squared_row_norms(w), a, b, 2.0).norm;
        EXPECT_TRUE(test::close(c / reference(w, a, b, 2.0), at::ones({out}, at::kDouble), 2e-6))
            << remainder;
    }
}

TEST(DoraNorm, GivesZeroRowsANormOfZeroAndAFiniteGain) {
    auto from = test::generator(6);
    at::Tensor w = test::randn({5, 12}, from, at::kFloat);
    w[3].zero_();
    const at::Tensor a = test::randn({2, 12}, from, at::kFloat);
    const at::Tensor c = dora_norm(w, squared_row_norms(w), a, at::zeros({5, 2}), 1.0).norm;
    EXPECT_EQ(c[3].item<float>(), 0);
    const at::Tensor gain = dora_gain(c, c);
    EXPECT_EQ(gain[3].item<float>(), 0);
    EXPECT_TRUE(gain.isfinite().all().item<bool>());
}

TEST(DoraNorm, TakesTransposedWeightsAndAnEarlierCrossTerm) {
    auto from = test::generator(7);
    const at::Tensor w = test::randn({19, 23}, from, at::kFloat).t(),
                     a = test::randn({3, 19}, from, at::kFloat);
    const at::Tensor b = test::randn({23, 3}, from, at::kFloat);
    const NormTerms fresh = dora_norm(w, squared_row_norms(w), a, b, 1.5);
    EXPECT_TRUE(test::close(fresh.norm, reference(w, a, b, 1.5), 5e-7));
    EXPECT_TRUE(test::same_bits(dora_norm(w, squared_row_norms(w), a, b, 1.5, fresh.cross).norm, fresh.norm));
}

TEST(DoraNorm, RefusesShapesThatDoNotFit) {
    const at::Tensor w = at::ones({4, 6});
    EXPECT_THROW(dora_norm(w, squared_row_norms(w), at::ones({2, 5}), at::ones({4, 2}), 1), c10::Error);
    EXPECT_THROW(dora_norm(w, squared_row_norms(w), at::ones({2, 6}), at::ones({4, 3}), 1), c10::Error);
    EXPECT_THROW(dora_norm(w, at::ones({3}), at::ones({2, 6}), at::ones({4, 2}), 1), c10::Error);
    EXPECT_THROW(squared_row_norms(at::ones({4})), c10::Error);
}

} // namespace
} // namespace dorabench
