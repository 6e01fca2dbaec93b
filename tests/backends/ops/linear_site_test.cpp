#include "backends/ops/adapted_linear.h"
#include "backends/ops/linear_site.h"
#include "tests/support/tensors.h"

namespace dorabench {
namespace {

// Doubles x W^T: a layer that only knows how to be called on its own.
struct Doubling final : AdapterLayer {
    at::Tensor forward(const at::Tensor& x, const FrozenLinear& base) override { return base.product(x) * 2; }
    at::Tensor merged_weight(const FrozenLinear& base) const override { return base.weight() * 2; }
};

// A LoRA layer that can be described.
struct Described final : AdapterLayer {
    AdaptedSite site;
    const AdaptedSite* adapted(const FrozenLinear&) override { return &site; }
    at::Tensor forward(const at::Tensor& x, const FrozenLinear&) override {
        const AdaptedSite* one = &site;
        return adapted_linear({&one, 1}, x)[0];
    }
    at::Tensor merged_weight(const FrozenLinear& base) const override { return base.weight(); }
};

TEST(LinearSite, IsThePlainProductUntilALayerIsAttached) {
    auto from = test::generator(1);
    const at::Tensor w = test::randn({5, 3}, from), b = test::randn({5}, from),
                     x = test::randn({2, 4, 3}, from);
    LinearSite site("a.q_proj", FrozenLinear(w, b));
    EXPECT_TRUE(test::close(site.forward(x), at::matmul(x, w.t()) + b, 1e-14));
    EXPECT_TRUE(test::close(site.base().product(x), at::matmul(x, w.t()), 1e-14));
    site.attach(std::make_shared<Doubling>());
    EXPECT_TRUE(test::close(site.forward(x), at::matmul(x, w.t()) * 2, 1e-14));
    site.detach();
    EXPECT_TRUE(test::close(site.forward(x), at::matmul(x, w.t()) + b, 1e-14));
}

TEST(LinearSite, NamesItselfWhenXDoesNotFit) {
    LinearSite site("layers.0.q_proj", FrozenLinear(at::ones({5, 3}), {}));
    try {
        site.forward(at::ones({2, 4}));
        FAIL() << "no error";
    } catch (const c10::Error& error) {
        EXPECT_NE(std::string(error.what()).find("layers.0.q_proj: x must be [..., in=3], got [2, 4]"),
                  std::string::npos);
    }
}

TEST(ForwardShared, GivesWhatEverySiteGivesAlone) {
    auto from = test::generator(2);
    std::vector<std::unique_ptr<LinearSite>> sites;
    for (int i = 0; i < 3; ++i)
        sites.push_back(std::make_unique<LinearSite>("s" + std::to_string(i),
                                                     FrozenLinear(test::randn({4 + i, 6}, from), {})));
    const std::vector<LinearSite*> all{sites[0].get(), sites[1].get(), sites[2].get()};
    const at::Tensor x = test::randn({3, 6}, from);
    auto check = [&] {
        const auto outputs = forward_shared(all, x);
        ASSERT_EQ(outputs.size(), 3u);
        for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(test::close(outputs[i], all[i]->forward(x), 1e-14)) << i;
    };
    check();
    auto layer = std::make_shared<Described>();
    layer->site.weight = sites[1]->base().weight();
    layer->site.down = test::randn({2, 6}, from);
    layer->site.up = test::randn({5, 2}, from);
    sites[1]->attach(layer);
    check();
    sites[2]->attach(std::make_shared<Doubling>());
    check();
}

TEST(ForwardShared, LeavesTrainedWeightsTheirGradients) {
    auto from = test::generator(3);
    const at::Tensor w = test::randn({4, 6}, from).set_requires_grad(true);
    LinearSite trained("a", FrozenLinear(w, {})), adapted("b", FrozenLinear(test::randn({4, 6}, from), {}));
    auto layer = std::make_shared<Described>();
    layer->site.weight = adapted.base().weight();
    adapted.attach(layer);
    const std::vector<LinearSite*> both{&trained, &adapted};
    forward_shared(both, test::randn({3, 6}, from))[0].sum().backward();
    ASSERT_TRUE(w.grad().defined());
    EXPECT_GT(test::largest(w.grad()), 0);
}

} // namespace
} // namespace dorabench
