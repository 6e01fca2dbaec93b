#include "backends/ops/compose_math.h"
#include "backends/ops/dropout.h"
#include "tests/support/tensors.h"
#include <cmath>

namespace dorabench {
namespace {

TEST(Philox, GivesTheKnownAnswersOfRandom123) {
    uint32_t zero[4] = {0, 0, 0, 0};
    philox4x32_10(zero, 0, 0);
    EXPECT_EQ(zero[0], 0x6627e8d5u);
    EXPECT_EQ(zero[1], 0xe169c58du);
    EXPECT_EQ(zero[2], 0xbc57ac4cu);
    EXPECT_EQ(zero[3], 0x9b00dbd8u);
    uint32_t pi[4] = {0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u};
    philox4x32_10(pi, 0xa4093822u, 0x299f31d0u);
    EXPECT_EQ(pi[0], 0xd16cfe09u);
    EXPECT_EQ(pi[1], 0x94fdccebu);
    EXPECT_EQ(pi[2], 0x5001e420u);
    EXPECT_EQ(pi[3], 0x24126ea1u);
}

TEST(Dropout, DrawsTheSameMaskForTheSameKeyAndAnotherForEveryOther) {
    const DropoutKey key{.seed = 5, .step = 3, .micro_batch = 2, .site = 7};
    const at::Tensor ones = at::ones({37, 129});
    const at::Tensor mask = dropped(ones, 0.3, key);
    EXPECT_TRUE(test::same_bits(mask, dropped(ones, 0.3, key)));
    for (DropoutKey other :
         {DropoutKey{6, 3, 2, 7}, DropoutKey{5, 4, 2, 7}, DropoutKey{5, 3, 1, 7}, DropoutKey{5, 3, 2, 8}}) {
        const at::Tensor differs = (dropped(ones, 0.3, other) != mask).to(at::kFloat).mean();
        EXPECT_NEAR(differs.item<float>(), 2 * 0.3 * 0.7, 0.05); // independent masks
    }
}

TEST(Dropout, KeepsTheStatedShareAndTheMean) {
    const int64_t n = 200000;
    for (double p : {0.05, 0.5, 0.9}) {
        const at::Tensor mask = dropped(at::ones({n}, at::kDouble), p, {.seed = 11});
        const double kept = (mask != 0).to(at::kDouble).mean().item<double>();
        EXPECT_NEAR(kept, 1 - p, 5 * std::sqrt(p * (1 - p) / n)) << p;
        EXPECT_NEAR(mask.max().item<double>(), 1 / (1 - p), 1e-12);
    }
}

TEST(Dropout, MaskOfAnElementDependsOnItsPlaceAlone) {
    const at::Tensor whole = dropped(at::ones({1 << 17}), 0.2, {.seed = 1}); // several threads
    for (int64_t n : {1, 63, 64, 65, 4099})
        EXPECT_TRUE(test::same_bits(dropped(at::ones({n}), 0.2, {.seed = 1}), whole.narrow(0, 0, n))) << n;
    const at::Tensor half = dropped(at::ones({4099}, at::kBFloat16), 0.5, {.seed = 9});
    EXPECT_TRUE(test::same_bits(half.to(at::kFloat), dropped(at::ones({4099}), 0.5, {.seed = 9})));
}

TEST(Dropout, LeavesItsInputAloneAndRefusesAnImpossibleRate) {
    at::Tensor x = at::ones({8, 4}).t(); // not contiguous
    EXPECT_EQ(dropped(x, 0.5, {}).sizes(), x.sizes());
    EXPECT_EQ(x.min().item<float>(), 1);
    EXPECT_TRUE(test::same_bits(dropped(x, 0.0, {}), x.contiguous()));
    EXPECT_THROW(dropped(x, 1.0, {}), c10::Error);
    EXPECT_THROW(dropout_(x, 0.5, {}), c10::Error);
}

} // namespace
} // namespace dorabench
