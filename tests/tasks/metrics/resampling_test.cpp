#include "tasks/metrics/resampling.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace dorabench;

TEST(Resampling, AgreesWithTheClosedFormForAMean) {
    std::vector<double> scores;
    for (int i = 0; i < 400; ++i) scores.push_back(i % 4 == 0);
    auto mean = [&](const std::vector<uint32_t>& times) {
        double sum = 0, n = 0;
        for (size_t i = 0; i < scores.size(); ++i) {
            sum += times[i] * scores[i];
            n += times[i];
        }
        return std::vector<double>{sum / n};
    };
    auto measured = bootstrap_measurements(scores.size(), mean)[0];
    EXPECT_EQ(measured.value, 0.25);
    EXPECT_EQ(measured.n, 400);
    EXPECT_NEAR(measured.stderr_, std::sqrt(0.25 * 0.75 / 400), 0.0015);
    EXPECT_LT(measured.ci_low, 0.22);
    EXPECT_GT(measured.ci_high, 0.28);
    EXPECT_EQ(bootstrap_measurements(scores.size(), mean)[0].stderr_, measured.stderr_); // seeded
    EXPECT_NE(bootstrap_measurements(scores.size(), mean, 1000, 1)[0].stderr_, measured.stderr_);
}

TEST(Resampling, HasNoSpreadForOneItem) {
    auto measured =
        bootstrap_measurements(1, [](const std::vector<uint32_t>&) { return std::vector<double>{3}; })[0];
    EXPECT_EQ(measured.value, 3);
    EXPECT_EQ(measured.stderr_, 0);
}
