#include "backends/ops/tall_product.h"
#include "tests/support/tensors.h"

namespace dorabench {
namespace {

TEST(TallProduct, EqualsTheProductInFloat64ForEveryRemainder) {
    auto from = test::generator(8);
    for (int64_t out : {1, 7, 8, 9, 65})
        for (int64_t in : {1, 511, 512, 1025})
            for (int64_t rank : {1, 15, 16, 17, 64})
                for (at::ScalarType type : {at::kFloat, at::kBFloat16}) {
                    const at::Tensor w = test::randn({out, in}, from, type),
                                     a = test::randn({rank, in}, from, type);
                    ASSERT_TRUE(suits_tall_product(w, a));
                    const at::Tensor want = at::mm(w.to(at::kDouble), a.to(at::kDouble).t());
                    EXPECT_TRUE(test::close(tall_product(w, a), want, 2e-6))
                        << out << " " << in << " " << rank << " " << type;
                }
}

TEST(TallProduct, LeavesOtherLayoutsAndTypesToTheGeneralProduct) {
    const at::Tensor w = at::ones({8, 6}), a = at::ones({2, 6});
    EXPECT_FALSE(suits_tall_product(at::ones({6, 8}).t(), a));
    EXPECT_FALSE(suits_tall_product(w.to(at::kDouble), a));
    EXPECT_FALSE(suits_tall_product(w, at::ones({65, 6})));
    EXPECT_THROW(tall_product(w, at::ones({2, 5})), c10::Error);
    EXPECT_EQ(tall_product(at::ones({0, 6}), a).sizes(), at::IntArrayRef({0, 2}));
}

} // namespace
} // namespace dorabench
