#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/train/train.h"
#include "tests/support/paths.h"
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

namespace dorabench {
namespace {

TrainSettings schedule(const std::string& name, int64_t warmup) {
    TrainSettings s;
    s.scheduler = name, s.warmup_steps = warmup;
    return s;
}

TEST(Schedule, LinearRisesFromZeroAndFallsToZero) {
    const TrainSettings s = schedule("linear", 4);
    const double want[] = {0, 0.25, 0.5, 0.75, 1, 5.0 / 6, 4.0 / 6, 0.5, 2.0 / 6, 1.0 / 6, 0};
    for (int64_t step = 0; step <= 10; ++step)
        EXPECT_NEAR(schedule_factor(s, step, 10), want[step], 1e-15) << step;
    EXPECT_EQ(schedule_factor(s, 11, 10), 0);
}

TEST(Schedule, CosineIsHalfAWave) {
    const TrainSettings s = schedule("cosine", 2);
    EXPECT_EQ(schedule_factor(s, 0, 10), 0);
    EXPECT_EQ(schedule_factor(s, 1, 10), 0.5);
    for (int64_t step = 2; step <= 10; ++step)
        EXPECT_NEAR(schedule_factor(s, step, 10),
                    0.5 * (1 + std::cos(std::numbers::pi * double(step - 2) / 8)), 1e-15);
}

TEST(Schedule, ConstantStaysAtOneAfterTheWarmUp) {
    const TrainSettings s = schedule("constant", 5);
    EXPECT_EQ(schedule_factor(s, 0, 20), 0);
    EXPECT_EQ(schedule_factor(s, 4, 20), 0.8);
    EXPECT_EQ(schedule_factor(s, 5, 20), 1);
    EXPECT_EQ(schedule_factor(s, 19, 20), 1);
}

TEST(Schedule, WithoutWarmUpTheFirstStepHasTheFullRate) {
    for (const char* name : {"linear", "cosine", "constant"})
        EXPECT_EQ(schedule_factor(schedule(name, 0), 0, 7), 1) << name;
}

TEST(Schedule, WarmUpRatioIsRoundedUp) {
    TrainSettings s = schedule("constant", 0);
    s.warmup_ratio = 0.03; // of 101 steps: 3.03, so 4
    EXPECT_EQ(schedule_factor(s, 3, 101), 0.75);
    EXPECT_EQ(schedule_factor(s, 4, 101), 1);
    s.warmup_steps = 2; // steps win over the ratio
    EXPECT_EQ(schedule_factor(s, 2, 101), 1);
}

TEST(Schedule, AnUnknownNameIsRefused) {
    try {
        schedule_factor(schedule("polynomial", 0), 0, 10);
        FAIL() << "expected an error";
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::config);
        EXPECT_NE(std::string(e.what()).find("polynomial"), std::string::npos);
    }
}

TEST(Schedule, StepsFollowFromEpochsAndBatches) {
    TrainSettings s;
    s.batch_size = 16, s.epochs = 3;
    EXPECT_EQ(total_steps(s, 170300), 31932); // the commonsense recipe
    EXPECT_EQ(total_steps(s, 16), 3);
    EXPECT_EQ(total_steps(s, 17), 6);
    s.epochs = 0.5;
    EXPECT_EQ(total_steps(s, 80), 3); // ceil(0.5 * 5)
    s.max_steps = 7;
    EXPECT_EQ(total_steps(s, 80), 7);
}

TEST(Schedule, EqualsTheRatesThatTransformersLogged) {
    DORABENCH_NEEDS_SHARED();
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(test::shared_dir() + "/golden/peft")) {
        const std::string path = entry.path().string() + "/training.json";
        if (!exists(path)) continue;
        ++files;
        const auto golden = nlohmann::json::parse(read_file(path));
        const TrainSettings s = schedule(golden["schedule"], golden["warmup_steps"]);
        for (const auto& step : golden["steps"])
            EXPECT_NEAR(golden["lr"].get<double>() * schedule_factor(s, step["step"], golden["total_steps"]),
                        step["lr"].get<double>(), 1e-12)
                << path << " step " << step["step"];
    }
    EXPECT_GT(files, 0);
}

} // namespace
} // namespace dorabench
