#include "backends/nn/attention.h"
#include "backends/nn/checkpointing.h"
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

double worst(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST(CausalAttention, RowsOfAPackedBatchSeeThemselvesAlone) {
    at::NoGradGuard no_grad;
    at::Tensor q = at::randn({12, 4, 8}), k = at::randn({12, 2, 8}), v = at::randn({12, 2, 8});
    std::vector<PackedRow> rows{{0, 3}, {3, 6}, {6, 11}, {11, 12}};
    at::Tensor packed = causal_attention(q, k, v, rows, false);
    for (const PackedRow& row : rows) {
        const int64_t n = row.end - row.begin;
        std::vector<PackedRow> alone{{0, n}};
        at::Tensor want = causal_attention(q.narrow(0, row.begin, n), k.narrow(0, row.begin, n),
                                           v.narrow(0, row.begin, n), alone, true);
        EXPECT_LT(worst(packed.narrow(0, row.begin, n), want), 1e-5);
    }
}

TEST(CausalAttention, TheWrittenOutFormHasTheFusedOnesGradients) {
    std::vector<at::Tensor> gradients;
    at::Tensor base = at::randn({7, 8, 8}), up = at::randn({7, 32});
    for (bool math : {false, true}) {
        at::Tensor x = base.detach().clone().requires_grad_(true);
        std::vector<PackedRow> rows{{0, 4}, {4, 7}};
        (causal_attention(x.narrow(1, 0, 4), x.narrow(1, 4, 2), x.narrow(1, 6, 2), rows, math) * up)
            .sum()
            .backward();
        gradients.push_back(x.grad());
    }
    EXPECT_LT(worst(gradients[0], gradients[1]), 1e-5);
}

TEST(ListedAttention, EqualsGatheringAndMasking) {
    at::NoGradGuard no_grad;
    at::Tensor q = at::randn({5, 6, 20}), k = at::randn({40, 3, 20}), v = at::randn({40, 3, 20});
    KeyLists lists;
    const std::vector<std::vector<int64_t>> tails{{20, 31}, {20, 39, 22}, {}, {33}, {25, 26, 27, 28}};
    const std::vector<std::pair<int64_t, int64_t>> prefixes{{0, 9}, {0, 9}, {0, 9}, {9, 14}, {14, 14}};
    for (size_t r = 0; r < tails.size(); ++r) lists.add(prefixes[r].first, prefixes[r].second, tails[r]);
    EXPECT_LT(worst(listed_attention(q, k, v, lists), listed_attention_ref(q, k, v, lists)), 1e-5);
}

TEST(ListedAttention, ARowDoesNotDependOnItsNeighboursBitForBit) {
    at::NoGradGuard no_grad;
    at::Tensor q = at::randn({3, 2, 16}), k = at::randn({30, 2, 16}), v = at::randn({30, 2, 16});
    KeyLists all, one;
    all.add_range(0, 10, 20, 22), all.add_range(0, 10, 22, 23), all.add_range(10, 20, 23, 28);
    one.add_range(0, 10, 22, 23);
    EXPECT_TRUE(listed_attention(q, k, v, all)[1].equal(listed_attention(q.narrow(0, 1, 1), k, v, one)[0]));
}

TEST(Checkpointed, GivesTheBitsOfThePlainBlock) {
    at::Tensor base = at::randn({4, 6}), weight = at::randn({6, 6});
    std::vector<at::Tensor> values, dx, dw;
    for (bool on : {false, true}) {
        at::Tensor x = base.detach().clone().requires_grad_(true),
                   w = weight.detach().clone().requires_grad_(true);
        Block block = [w](const at::Tensor& h) { return h.matmul(w).tanh(); };
        at::Tensor y = on ? checkpointed(block, checkpointed(block, x)) : block(block(x));
        y.sum().backward();
        values.push_back(y.detach()), dx.push_back(x.grad()), dw.push_back(w.grad());
    }
    EXPECT_TRUE(values[0].equal(values[1]));
    EXPECT_TRUE(dx[0].equal(dx[1]));
    EXPECT_TRUE(dw[0].equal(dw[1]));
}

} // namespace
} // namespace dorabench
