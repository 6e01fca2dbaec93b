#include "backends/ops/frozen_product.h"
#include <ATen/Context.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

double error_of(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    at::NoGradGuard no_grad;
    const at::Tensor want = at::linear(x.to(at::kDouble), weight.to(at::kDouble),
                                       bias.defined() ? bias.to(at::kDouble) : at::Tensor());
    const at::Tensor got = frozen_product(x, weight, bias);
    EXPECT_EQ(got.sizes(), want.sizes());
    EXPECT_EQ(got.scalar_type(), x.scalar_type());
    return (got.to(at::kDouble) - want).abs().max().item<double>();
}

TEST(FrozenProduct, EqualsTheProductInDoubleOnOddShapes) {
    at::manual_seed(5);
    for (int64_t rows : {1, 3, 4, 17, 130})
        for (int64_t in : {1, 31, 64})
            for (int64_t out : {1, 47, 96}) {
                const at::Tensor x = at::randn({rows, in}), w = at::randn({out, in}), b = at::randn({out});
                EXPECT_LT(error_of(x, w, {}), 2e-4) << rows << " x " << in << " x " << out;
                EXPECT_LT(error_of(x, w, b), 2e-4) << rows << " x " << in << " x " << out;
            }
}

TEST(FrozenProduct, TakesStridedRowsAndMoreDimensions) {
    const at::Tensor wide = at::randn({6, 5, 40}), w = at::randn({24, 20});
    EXPECT_LT(error_of(wide.narrow(2, 10, 20), w, {}), 2e-4);
    EXPECT_LT(error_of(wide.narrow(2, 0, 20).transpose(0, 1), w, {}), 2e-4);
    EXPECT_LT(error_of(at::randn({9, 24}), w.t(), {}), 2e-4);
}

TEST(FrozenProduct, RecordsGradientsWhereTheyAreWanted) {
    const at::Tensor x = at::randn({8, 16}).requires_grad_(true), w = at::randn({12, 16});
    const at::Tensor y = frozen_product(x, w);
    ASSERT_TRUE(y.requires_grad());
    y.sum().backward();
    EXPECT_LT((x.grad() - w.sum(0).expand({8, 16})).abs().max().item<double>(), 1e-4);
}

} // namespace
} // namespace dorabench
