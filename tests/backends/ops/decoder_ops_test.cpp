// RMSNorm, RoPE, SwiGLU and the chunked loss: values against float64 references, hand-written gradients
// against autograd's.
#include "backends/ops/linear_cross_entropy.h"
#include "backends/ops/rms_norm.h"
#include "backends/ops/rope.h"
#include "backends/ops/row_math.h"
#include "backends/ops/swiglu.h"
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

using Function = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

// Runs op in float32 and ref in float64 on the same inputs, with the same gradient coming in.
void expect_same(const Function& op, const Function& ref, const std::vector<at::Tensor>& inputs,
                 double tolerance) {
    std::vector<at::Tensor> narrow, wide;
    for (const at::Tensor& x : inputs) {
        narrow.push_back(x.detach().requires_grad_(true));
        wide.push_back(x.detach().to(at::kDouble).requires_grad_(true));
    }
    at::Tensor y = op(narrow), want = ref(wide);
    at::Tensor up = at::randn(want.sizes(), at::kDouble);
    auto error = [](const at::Tensor& a, const at::Tensor& b) {
        return (a.to(at::kDouble) - b).abs().max().item<double>() /
               std::max(1e-12, b.abs().max().item<double>());
    };
    EXPECT_LT(error(y, want), tolerance);
    (y * up.to(at::kFloat)).sum().backward();
    (want * up).sum().backward();
    for (size_t i = 0; i < inputs.size(); ++i)
        EXPECT_LT(error(narrow[i].grad(), wide[i].grad()), tolerance) << "gradient of input " << i;
    at::NoGradGuard no_grad;
    EXPECT_TRUE(op(inputs).equal(y)) << "without a graph the bits must be the same";
}

TEST(RmsNorm, ValuesAndGradientsMatchFloat64OnOddShapes) {
    for (int64_t width : {5, 16, 37, 768}) // (one or two elements: the gradient is a difference of equals)
        for (int64_t rows : {1, 5, 67})
            expect_same([](auto& x) { return rms_norm(x[0], x[1], 1e-6); },
                        [](auto& x) { return rms_norm_ref(x[0], x[1], 1e-6); },
                        {at::randn({rows, width}), at::randn({width})}, 3e-6);
}

TEST(RmsNorm, RoundsToTheDtypeBeforeItScales) {
    at::Tensor x = at::randn({4, 64}, at::kBFloat16), weight = at::randn({64}, at::kBFloat16);
    at::Tensor wide = x.to(at::kFloat);
    at::Tensor want = weight * (wide * (wide.pow(2).mean(-1, true) + 1e-5).rsqrt()).to(at::kBFloat16);
    EXPECT_TRUE(rms_norm(x, weight, 1e-5).equal(want));
}

TEST(RmsNorm, RefusesAWeightOfAnotherWidth) {
    EXPECT_THROW(rms_norm(at::randn({2, 8}), at::randn({7}), 1e-6), c10::Error);
}

TEST(Rope, ValuesAndGradientsMatchFloat64OnStridedRows) {
    RopeTable table = make_rope_table(at::rand({5}), 300);
    RopeTable wide{table.cos.to(at::kDouble), table.sin.to(at::kDouble)};
    at::Tensor positions = at::randint(0, 300, {9}, at::kLong);
    expect_same(
        [&](auto& x) {
            return rope(x[0].narrow(1, 10, 30).view({9, 3, 10}), table, positions);
        },
        [&](auto& x) {
            return rope_ref(x[0].narrow(1, 10, 30).view({9, 3, 10}), wide, positions);
        },
        {at::randn({9, 50})}, 2e-6);
}

TEST(Rope, PositionZeroTurnsNothing) {
    at::Tensor x = at::randn({2, 3, 8});
    EXPECT_TRUE(rope(x, make_rope_table(at::rand({4}), 4), at::zeros({2}, at::kLong)).equal(x));
}

TEST(SwiGlu, ValuesAndGradientsMatchFloat64AlsoForLargeInputs) {
    for (double scale : {1.0, 40.0})
        expect_same([](auto& x) { return swiglu(x[0], x[1]); },
                    [](auto& x) { return swiglu_ref(x[0], x[1]); },
                    {at::randn({13, 37}) * scale, at::randn({13, 37})}, 2e-6);
}

TEST(SwiGlu, ExtremesStayFiniteAndNanStaysNan) {
    at::Tensor gate = at::zeros({1, 4}), up = at::ones({1, 4});
    gate[0][0] = 1e30, gate[0][1] = -1e30, gate[0][2] = NAN;
    at::Tensor y = swiglu(gate, up);
    EXPECT_EQ(y[0][0].item<float>(), 1e30f);
    EXPECT_NEAR(y[0][1].item<float>(), 0, 1e-6);
    EXPECT_TRUE(std::isnan(y[0][2].item<float>()));
}

class ChunkedLoss : public testing::TestWithParam<int64_t> {};

TEST_P(ChunkedLoss, EqualsThePlainLossWithAllGradients) {
    at::Tensor labels = at::randint(0, 41, {23}, at::kLong), scale = at::rand({23});
    labels[0] = -100, labels[7] = -100, labels[22] = -100;
    for (const at::Tensor& weights : {at::Tensor(), scale}) {
        CrossEntropyRows rows{labels, weights};
        expect_same([&](auto& x) { return linear_cross_entropy(x[0], x[1], rows, GetParam()); },
                    [&](auto& x) { return linear_cross_entropy_ref(x[0], x[1], rows); },
                    {at::randn({23, 19}), at::randn({41, 19})}, 2e-6);
    }
}
INSTANTIATE_TEST_SUITE_P(Chunks, ChunkedLoss, testing::Values(1, 4, 20, 64, 0));

TEST(LinearCrossEntropy, OtherDtypesTakeTheGeneralPath) {
    at::Tensor hidden = at::randn({6, 8}, at::kDouble).requires_grad_(true),
               weight = at::randn({11, 8}, at::kDouble).requires_grad_(true);
    CrossEntropyRows rows{at::randint(0, 11, {6}, at::kLong), at::Tensor()};
    at::Tensor got = linear_cross_entropy(hidden, weight, rows, 4);
    got.backward();
    at::Tensor dhidden = hidden.grad().clone(), dweight = weight.grad().clone();
    hidden.mutable_grad().zero_(), weight.mutable_grad().zero_();
    at::Tensor want = linear_cross_entropy_ref(hidden, weight, rows);
    want.backward();
    EXPECT_NEAR(got.item<double>(), want.item<double>(), 1e-12);
    EXPECT_LT((dhidden - hidden.grad()).abs().max().item<double>(), 1e-12);
    EXPECT_LT((dweight - weight.grad()).abs().max().item<double>(), 1e-12);
}

TEST(LinearCrossEntropy, WithoutLabelsTheLossIsZeroAndSoAreTheGradients) {
    at::Tensor hidden = at::randn({3, 4}).requires_grad_(true);
    at::Tensor loss =
        linear_cross_entropy(hidden, at::randn({5, 4}), {at::full({3}, -100, at::kLong), at::Tensor()});
    loss.backward();
    EXPECT_EQ(loss.item<float>(), 0);
    EXPECT_EQ(hidden.grad().abs().max().item<float>(), 0);
}

TEST(LinearCrossEntropy, RefusesALabelOutsideTheVocabulary) {
    EXPECT_THROW(linear_cross_entropy(at::randn({2, 4}), at::randn({5, 4}),
                                      {at::full({2}, 5, at::kLong), at::Tensor()}),
                 c10::Error);
}

TEST(RowMath, ArgmaxTakesTheFirstOfEqualsAndLogSumExpIsExact) {
    std::vector<float> row(70, 0.0f);
    row[33] = row[50] = 2;
    EXPECT_EQ(row_argmax(row.data(), 70), 33);
    EXPECT_NEAR(row_log_sum_exp(row.data(), 70), std::log(68 + 2 * std::exp(2.0)), 1e-6);
}

} // namespace
} // namespace dorabench
