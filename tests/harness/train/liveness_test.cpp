#include "harness/train/liveness.h"
#include "tests/harness/train/toy.h"
#include <gtest/gtest.h>

namespace dorabench {
namespace {

TEST(Liveness, StepsWithoutARateDoNotCount) {
    TrainSettings s;
    s.groups.push_back({"b", 0.0, std::nullopt, std::nullopt});
    const std::vector<TrainableTensor> tensors{{"a", "A", at::ones({3}, at::kFloat)},
                                               {"b", "B", at::ones({3}, at::kFloat)}};
    Optimizer optimizer(tensors, s);
    LivenessTracker tracker(tensors);
    GradientNorms norms;
    norms.by_group = {{"A", 2.0}, {"B", 3.0}};
    tracker.observe(norms, optimizer, 0);
    EXPECT_EQ(tracker.result().at("A").max_grad_norm, 0);
    tracker.observe(norms, optimizer, 0.5);
    EXPECT_EQ(tracker.result().at("A").max_grad_norm, 2);
    EXPECT_EQ(tracker.result().at("B").max_grad_norm, 0); // its own rate is 0
}

TEST(Liveness, MovementIsRelativeToWhereATensorStarted) {
    at::NoGradGuard no_grad;
    at::Tensor a = at::full({4}, 10.0, at::kFloat), zero = at::zeros({2, 2}, at::kFloat),
               still = at::ones({2}, at::kFloat);
    LivenessTracker tracker({{"a", "A", a}, {"z", "B", zero}, {"s", "d", still}});
    a[2] += 1;
    zero[1][0] -= 0.25;
    const auto moved = tracker.result();
    EXPECT_NEAR(moved.at("A").moved, 0.1, 1e-7);
    EXPECT_NEAR(moved.at("B").moved, 0.25, 1e-7);
    EXPECT_EQ(moved.at("d").moved, 0);
}

TEST(Liveness, LargeTensorsAreSampledAndStillSeen) {
    at::NoGradGuard no_grad;
    at::Tensor big = at::zeros({1500, 1500}, at::kFloat); // above the million elements that are copied whole
    LivenessTracker tracker({{"w", "weight", big}});
    EXPECT_EQ(tracker.result().at("weight").moved, 0);
    big += 0.5;
    EXPECT_NEAR(tracker.result().at("weight").moved, 0.5, 1e-7);
}

TEST(Liveness, NormsGoThroughAResume) {
    const std::vector<TrainableTensor> tensors{{"a", "A", at::ones({3}, at::kFloat)}};
    LivenessTracker tracker(tensors);
    tracker.restore({{"A", 4.5}, {"gone", 1.0}});
    EXPECT_EQ(tracker.result().at("A").max_grad_norm, 4.5);
    EXPECT_EQ(tracker.result().count("gone"), 0u);
}

} // namespace
} // namespace dorabench
