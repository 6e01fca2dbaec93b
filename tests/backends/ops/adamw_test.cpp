#include "backends/ops/adamw.h"
#include "backends/ops/references.h"
#include "tests/support/tensors.h"

namespace dorabench {
namespace {

TEST(Adamw, FollowsTheEquationOverManyStepsAndTensors) {
    auto from = test::generator(1);
    const std::vector<std::vector<int64_t>> shapes = {{1}, {7}, {33, 5}, {129}};
    AdamwOptions options{.lr = 3e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1};
    std::vector<at::Tensor> params, m, v, expected, expected_m, expected_v;
    for (const auto& shape : shapes) {
        params.push_back(test::randn(shape, from, at::kFloat));
        expected.push_back(params.back().to(at::kDouble));
        m.push_back(at::zeros_like(params.back()));
        v.push_back(at::zeros_like(params.back()));
        expected_m.push_back(at::zeros_like(expected.back()));
        expected_v.push_back(at::zeros_like(expected.back()));
    }
    for (int64_t step = 1; step <= 20; ++step) {
        std::vector<at::Tensor> grads;
        for (size_t i = 0; i < shapes.size(); ++i) {
            grads.push_back(test::randn(shapes[i], from, at::kFloat));
            ref::adamw_step(expected[i], grads[i].to(at::kDouble), expected_m[i], expected_v[i], options,
                            step);
        }
        adamw_step(params, grads, m, v, options, step);
    }
    for (size_t i = 0; i < shapes.size(); ++i) {
        EXPECT_TRUE(test::close(params[i], expected[i], 1e-6));
        EXPECT_TRUE(test::close(m[i], expected_m[i], 1e-6));
        EXPECT_TRUE(test::close(v[i], expected_v[i], 1e-6));
    }
}

TEST(Adamw, MovesFloat64ParametersExactly) {
    auto from = test::generator(2);
    at::Tensor p = test::randn({11}, from), g = test::randn({11}, from), m = at::zeros_like(p),
               v = at::zeros_like(p);
    at::Tensor want = p.clone(), want_m = m.clone(), want_v = v.clone();
    const AdamwOptions options{.lr = 0.01, .weight_decay = 0.05};
    ref::adamw_step(want, g, want_m, want_v, options, 1);
    adamw_step({p}, {g}, {m}, {v}, options, 1);
    EXPECT_TRUE(test::close(p, want, 1e-14));
}

TEST(Adamw, RefusesUnequalLists) {
    const at::Tensor t = at::zeros({2});
    EXPECT_THROW(adamw_step({t}, {}, {t}, {t}, {}, 1), c10::Error);
    EXPECT_THROW(adamw_step({t}, {t}, {t}, {t}, {}, 0), c10::Error);
    EXPECT_NO_THROW(adamw_step({}, {}, {}, {}, {}, 1));
}

} // namespace
} // namespace dorabench
