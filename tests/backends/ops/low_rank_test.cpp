#include "backends/ops/compose.h"
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

struct LowRankCase {
    int64_t rows, out, rank, stride; // stride: columns of the tensor that h is cut out of
    bool gain, bias;
};

double error_of(const LowRankCase& c) {
    const at::Tensor z = at::randn({c.rows, c.out}), up = at::randn({c.out, c.rank});
    const at::Tensor hidden = at::randn({c.rows, c.stride}).narrow(1, c.stride - c.rank, c.rank);
    const at::Tensor gain = c.gain ? at::randn({c.out}) : at::Tensor();
    const at::Tensor bias = c.bias ? at::randn({c.out}) : at::Tensor();
    const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
    at::Tensor want = wide(z) + 0.5 * at::mm(wide(hidden), wide(up).t());
    if (c.gain) want = want * wide(gain);
    if (c.bias) want = want + wide(bias);
    at::Tensor got = z.clone();
    low_rank_compose_(got, hidden, up, 0.5, gain, bias);
    return (wide(got) - want).abs().max().item<double>();
}

TEST(LowRankCompose, EqualsTheEquationInDoubleOnOddShapes) {
    at::manual_seed(11);
    for (int64_t rows : {1, 15, 16, 17, 131})
        for (int64_t out : {1, 63, 64, 65, 1024 + 64 + 7})
            for (int64_t rank : {1, 5, 16, 64, 65})
                for (int parts = 0; parts < 4; ++parts) {
                    const LowRankCase c{
                        rows, out, rank, rank + 3 * (parts & 1), (parts & 1) != 0, (parts & 2) != 0};
                    EXPECT_LT(error_of(c), 2e-4) << rows << " x " << out << ", rank " << rank;
                }
}

// The rows of a batch are split among threads: no bit may depend on where.
TEST(LowRankCompose, GivesARowTheSameBitsWhereverItStands) {
    at::manual_seed(12);
    const at::Tensor z = at::randn({64, 200}), h = at::randn({64, 16}), up = at::randn({200, 16}),
                     g = at::randn({200});
    at::Tensor whole = z.clone(), part = z.narrow(0, 21, 40).clone();
    low_rank_compose_(whole, h, up, 2, g, {});
    low_rank_compose_(part, h.narrow(0, 21, 40), up, 2, g, {});
    EXPECT_TRUE(part.equal(whole.narrow(0, 21, 40)));
}

} // namespace
} // namespace dorabench
