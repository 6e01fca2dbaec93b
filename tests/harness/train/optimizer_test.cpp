#include "harness/train/optimizer.h"
#include "harness/train/train.h"
#include "tests/harness/train/toy.h"
#include <cmath>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

using test::random_tensor;

std::vector<TrainableTensor> two_tensors(uint64_t seed = 1) {
    Rng rng(seed, "optimizer-test");
    return {{"site.lora_A.weight", "lora_A", random_tensor({3, 5}, 1, rng).set_requires_grad(true)},
            {"site.lora_B.weight", "lora_B", random_tensor({4}, 1, rng).set_requires_grad(true)}};
}

TrainSettings plain() {
    TrainSettings s;
    s.learning_rate = 1e-2, s.weight_decay = 0.1;
    return s;
}

void set_gradients(const std::vector<TrainableTensor>& tensors, Rng& rng) {
    for (const TrainableTensor& t : tensors)
        at::Tensor(t.tensor).mutable_grad() = random_tensor(t.tensor.sizes().vec(), 1, rng);
}

// The equations of AdamW in float64, one element at a time.
struct ElementReference {
    double p, m = 0, v = 0;
    void step(double g, double lr, double decay, int64_t t) {
        p -= lr * decay * p;
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        p -= lr * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
    }
};

TEST(Optimizer, FollowsTheEquationsOfAdamWOverTwentySteps) {
    const auto tensors = two_tensors();
    Optimizer optimizer(tensors, plain());
    std::vector<ElementReference> reference;
    for (const TrainableTensor& t : tensors)
        for (int64_t i = 0; i < t.tensor.numel(); ++i) reference.push_back({t.tensor.data_ptr<float>()[i]});
    Rng rng(2, "gradients");
    for (int64_t step = 1; step <= 20; ++step) {
        set_gradients(tensors, rng);
        const double factor = step == 1 ? 0.0 : 1.0 / double(step); // a rate of 0 still fills the moments
        size_t at = 0;
        for (const TrainableTensor& t : tensors)
            for (int64_t i = 0; i < t.tensor.numel(); ++i)
                reference[at++].step(t.tensor.grad().data_ptr<float>()[i], 1e-2 * factor, 0.1, step);
        optimizer.step(factor);
    }
    size_t at = 0;
    for (const TrainableTensor& t : tensors)
        for (int64_t i = 0; i < t.tensor.numel(); ++i, ++at)
            EXPECT_NEAR(t.tensor.data_ptr<float>()[i], reference[at].p, 2e-6) << t.name << " " << i;
}

TEST(Optimizer, ATensorWithoutAGradientIsLeftAloneAndItsCountToo) {
    auto tensors = two_tensors();
    Optimizer optimizer(tensors, plain());
    Rng rng(3, "gradients");
    const at::Tensor before = tensors[1].tensor.detach().clone();
    set_gradients(tensors, rng);
    tensors[1].tensor.mutable_grad() = at::Tensor();
    optimizer.step(1);
    EXPECT_TRUE(tensors[1].tensor.equal(before));
    const at::Tensor steps = optimizer.state().back().tensor;
    EXPECT_EQ(steps.data_ptr<int64_t>()[0], 1);
    EXPECT_EQ(steps.data_ptr<int64_t>()[1], 0);
}

TEST(Optimizer, TheFirstMatchingGroupGivesRateAndDecay) {
    TrainSettings s = plain();
    s.groups.push_back({"*lora_B*", std::nullopt, 16.0, 0.0});
    s.groups.push_back({"*lora_*", 5e-3, std::nullopt, std::nullopt});
    Optimizer optimizer(two_tensors(), s);
    EXPECT_DOUBLE_EQ(optimizer.learning_rate(0), 5e-3);
    EXPECT_DOUBLE_EQ(optimizer.weight_decay(0), 0.1);
    EXPECT_DOUBLE_EQ(optimizer.learning_rate(1), 0.16);
    EXPECT_DOUBLE_EQ(optimizer.weight_decay(1), 0.0);
}

// LLaVA's recipe: the projector at 2e-5 beside adapters at 2e-4, in both layouts' names. AdamW's first step
// moves every element by the rate, whatever its gradient.
TEST(Optimizer, AProjectorLearnsAtItsOwnRate) {
    Rng rng(4, "projector");
    const std::vector<TrainableTensor> tensors{
        {"model.layers.0.self_attn.q_proj.lora_A.weight", "lora_A",
         random_tensor({3, 5}, 1, rng).set_requires_grad(true)},
        {"model.mm_projector.0.weight", "base", random_tensor({4, 4}, 1, rng).set_requires_grad(true)},
        {"multi_modal_projector.linear_2.bias", "base", random_tensor({4}, 1, rng).set_requires_grad(true)}};
    TrainSettings settings;
    settings.learning_rate = 2e-4;
    settings.groups = {
        {.match = "*projector*", .learning_rate = 2e-5, .learning_rate_ratio = {}, .weight_decay = {}}};
    std::vector<at::Tensor> before;
    for (const TrainableTensor& t : tensors) before.push_back(t.tensor.detach().to(at::kDouble).clone());
    Optimizer optimizer(tensors, settings);
    set_gradients(tensors, rng);
    optimizer.step(1);
    for (size_t i = 0; i < tensors.size(); ++i) {
        const double rate = i == 0 ? 2e-4 : 2e-5;
        const at::Tensor moved = (tensors[i].tensor.detach().to(at::kDouble) - before[i]).abs();
        EXPECT_NEAR(moved.max().item<double>(), rate, 3e-7) << tensors[i].name;
        EXPECT_NEAR(moved.min().item<double>(), rate, 3e-7) << tensors[i].name;
    }
}

TEST(Optimizer, ARateRatioMovesItsGroupThatMuchFurther) {
    TrainSettings s = plain();
    s.weight_decay = 0;
    s.groups.push_back({"*lora_B*", std::nullopt, 16.0, std::nullopt});
    const auto tensors = two_tensors();
    const at::Tensor a = tensors[0].tensor.detach().clone(), b = tensors[1].tensor.detach().clone();
    Optimizer optimizer(tensors, s);
    Rng rng(4, "gradients");
    set_gradients(tensors, rng);
    optimizer.step(1); // the first step of Adam moves every element by the rate
    EXPECT_NEAR((tensors[0].tensor.detach() - a).abs().max().item<double>(), 1e-2, 1e-5);
    EXPECT_NEAR((tensors[1].tensor.detach() - b).abs().min().item<double>(), 0.16, 1e-4);
}

TEST(Optimizer, ClippingScalesAllGradientsByTheGlobalNorm) {
    const auto tensors = two_tensors();
    Optimizer optimizer(tensors, plain());
    at::Tensor(tensors[0].tensor).mutable_grad() = at::full({3, 5}, 3.0, at::kFloat);
    at::Tensor(tensors[1].tensor).mutable_grad() = at::full({4}, -4.0, at::kFloat);
    const GradientNorms norms = optimizer.gradient_norms();
    const double norm = std::sqrt(15 * 9 + 4 * 16);
    EXPECT_NEAR(norms.total, norm, 1e-5);
    EXPECT_NEAR(norms.by_group.at("lora_A"), std::sqrt(15 * 9.0), 1e-5);
    EXPECT_NEAR(norms.by_group.at("lora_B"), 8, 1e-6);
    optimizer.clip(norms.total, 0); // 0: off
    EXPECT_EQ(tensors[0].tensor.grad().data_ptr<float>()[0], 3.0f);
    optimizer.clip(norms.total, 100); // below the limit: untouched, bit for bit
    EXPECT_EQ(tensors[0].tensor.grad().data_ptr<float>()[0], 3.0f);
    optimizer.clip(norms.total, 2);
    EXPECT_NEAR(tensors[0].tensor.grad().data_ptr<float>()[0], 3 * 2 / (norm + 1e-6), 1e-6);
    EXPECT_NEAR(optimizer.gradient_norms().total, 2, 1e-5);
}

TEST(Optimizer, StateGoesToAnotherOptimizerBitForBit) {
    const auto first = two_tensors(1), second = two_tensors(9);
    Optimizer a(first, plain()), b(second, plain());
    Rng rng(5, "gradients");
    for (int i = 0; i < 3; ++i) set_gradients(first, rng), a.step(1);
    b.load_state(a.state());
    Rng rng_a(6, "gradients"), rng_b(6, "gradients");
    set_gradients(first, rng_a), a.step(0.5);
    set_gradients(second, rng_b), b.step(0.5);
    const auto state_a = a.state(), state_b = b.state();
    for (size_t i = 0; i < state_a.size(); ++i)
        EXPECT_TRUE(state_a[i].tensor.equal(state_b[i].tensor)) << state_a[i].name;
}

TEST(Optimizer, RefusesAnothersStateAsAWhole) {
    const auto tensors = two_tensors();
    Optimizer optimizer(tensors, plain());
    const at::Tensor before = tensors[0].tensor.detach().clone();
    std::vector<NamedTensor> state;
    for (const NamedTensor& t : optimizer.state()) state.push_back({t.name, t.tensor.clone()});
    state[0].tensor = state[0].tensor + 1;
    state[3].tensor = at::zeros({5}, at::kFloat); // lora_B's, of another shape
    try {
        optimizer.load_state(state);
        FAIL() << "expected an error";
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        EXPECT_NE(std::string(e.what()).find("lora_B"), std::string::npos) << e.what();
    }
    EXPECT_TRUE(tensors[0].tensor.equal(before));
    state.pop_back();
    EXPECT_THROW(optimizer.load_state(state), Error);
}

} // namespace
} // namespace dorabench
