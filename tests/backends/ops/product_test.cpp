#include "backends/ops/product.h"
#include <ATen/Context.h>
#include <ATen/ops/randn.h>
#include <array>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

double error_of(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    at::NoGradGuard no_grad;
    const at::Tensor want = at::linear(x.to(at::kDouble), weight.to(at::kDouble),
                                       bias.defined() ? bias.to(at::kDouble) : at::Tensor());
    const at::Tensor got = linear_product(x, weight, bias);
    EXPECT_EQ(got.sizes(), want.sizes());
    EXPECT_EQ(got.scalar_type(), x.scalar_type());
    return (got.to(at::kDouble) - want).abs().max().item<double>();
}

TEST(LinearProduct, EqualsTheProductInDoubleOnOddShapes) {
    at::manual_seed(5);
    for (int64_t rows : {1, 3, 4, 17, 130})
        for (int64_t in : {1, 31, 64})
            for (int64_t out : {1, 47, 96}) {
                const at::Tensor x = at::randn({rows, in}), w = at::randn({out, in}), b = at::randn({out});
                EXPECT_LT(error_of(x, w, {}), 2e-4) << rows << " x " << in << " x " << out;
                EXPECT_LT(error_of(x, w, b), 2e-4) << rows << " x " << in << " x " << out;
            }
}

TEST(LinearProduct, TakesStridedRowsAndMoreDimensions) {
    const at::Tensor wide = at::randn({6, 5, 40}), w = at::randn({24, 20});
    EXPECT_LT(error_of(wide.narrow(2, 10, 20), w, {}), 2e-4);
    EXPECT_LT(error_of(wide.narrow(2, 0, 20).transpose(0, 1), w, {}), 2e-4);
    EXPECT_LT(error_of(at::randn({9, 24}), w.t(), {}), 2e-4);
    for (int64_t rows : {9, 40}) { // with gaps between W's rows, and between its columns
        EXPECT_LT(error_of(at::randn({rows, 7}), w.narrow(1, 5, 7), {}), 2e-4);
        EXPECT_LT(error_of(at::randn({rows, 5}), w.narrow(0, 3, 5).t(), {}), 2e-4);
    }
}

// Gradients of x, W and b against autograd's own in double, wherever some of the three are wanted.
TEST(LinearProduct, RecordsGradientsWhereTheyAreWanted) {
    at::manual_seed(6);
    for (int wanted = 1; wanted < 12; ++wanted) { // from 8 on without a bias
        if (wanted == 8) continue;
        at::Tensor values[] = {at::randn({2, 9, 16}), at::randn({12, 16}), at::randn({12})};
        const at::Tensor slope = at::randn({2, 9, 12});
        std::vector<at::Tensor> own, reference;
        for (int i = 0; i < 3; ++i) {
            own.push_back(values[i].clone().requires_grad_((wanted >> i) & 1));
            reference.push_back(values[i].to(at::kDouble).requires_grad_((wanted >> i) & 1));
        }
        if (wanted > 8) own[2] = reference[2] = at::Tensor();
        const at::Tensor y = linear_product(own[0], own[1], own[2]);
        ASSERT_TRUE(y.requires_grad());
        y.backward(slope);
        at::linear(reference[0], reference[1], reference[2]).backward(slope.to(at::kDouble));
        for (int i = 0; i < (wanted > 8 ? 2 : 3); ++i) {
            ASSERT_EQ(own[i].grad().defined(), bool((wanted >> i) & 1));
            if (own[i].grad().defined())
                EXPECT_LT((own[i].grad().to(at::kDouble) - reference[i].grad()).abs().max().item<double>(),
                          2e-4)
                    << "input " << i << " of mask " << wanted;
        }
    }
}

TEST(ProductNt, TakesEitherFactorInEitherOrder) {
    at::manual_seed(7);
    for (const auto& [m, k, n] : {std::array<int64_t, 3>{33, 7, 5}, {4, 64, 130}, {1, 9, 2}, {16, 1, 16}})
        for (int order = 0; order < 4; ++order) {
            const at::Tensor a = order & 1 ? at::randn({k, m}).t() : at::randn({m, k});
            const at::Tensor b = order & 2 ? at::randn({k, n}).t() : at::randn({n, k});
            const at::Tensor want = at::mm(a.to(at::kDouble), b.to(at::kDouble).t());
            const at::Tensor got = product_nt(a, b);
            ASSERT_EQ(got.sizes(), want.sizes());
            EXPECT_LT((got.to(at::kDouble) - want).abs().max().item<double>(), 1e-4)
                << m << " " << k << " " << n;
        }
}

TEST(ProductNt, RecordsNothing) {
    const at::Tensor a = at::randn({8, 4}).requires_grad_(true);
    EXPECT_FALSE(product_nt(a, at::randn({3, 4})).requires_grad());
    EXPECT_TRUE(at::GradMode::is_enabled());
}

TEST(ProductNt, RoundsToTheTypeAskedFor) {
    const at::Tensor a = at::ones({2, 3}, at::kBFloat16), b = at::ones({4, 3}, at::kBFloat16);
    EXPECT_EQ(product_nt(a, b, at::kFloat).scalar_type(), at::kFloat);
    EXPECT_TRUE(product_nt(a, b, at::kFloat).equal(at::full({2, 4}, 3.0)));
}

} // namespace
} // namespace dorabench
