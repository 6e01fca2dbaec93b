#include "tests/tasks/metrics/fixture_files.h"

using namespace dorabench;
using dorabench::test::MetricFiles;

namespace {

const std::string kGold = "{\"identifier\": \"dev-1-0-0\", \"label\": \"True\"}\n{\"identifier\": "
                          "\"dev-1-1-0\", \"label\": \"False\"}\n"
                          "{\"identifier\": \"dev-1-0-1\", \"label\": \"False\"}\n";

} // namespace

TEST(Nlvr2, MatchesTheHandComputedValues) {
    auto values =
        MetricFiles(kGold, "dev-1-0-0,true\ndev-1-1-0,TRUE\n\ndev-1-0-1, False \n").compute("nlvr2");
    EXPECT_NEAR(values["accuracy"].value, 2.0 / 3, 1e-12);
    EXPECT_EQ(values["consistency"].value, 0.5); // the sentence 1-0 fails on one pair
    EXPECT_EQ(values["consistency"].n, 2);
}

TEST(Nlvr2, RefusesDamagedPredictions) {
    EXPECT_NE(MetricFiles(kGold, "dev-1-0-0,true\n").error("nlvr2").find("dev-1-0-1, dev-1-1-0"),
              std::string::npos);
    EXPECT_NE(MetricFiles(kGold, "dev-1-0-0;true\n").error("nlvr2").find("line 1"), std::string::npos);
    EXPECT_NE(MetricFiles(kGold, "dev-1-0-0,maybe\n").error("nlvr2"), "");
    EXPECT_NE(MetricFiles("[{\"identifier\": \"x\", \"label\": \"True\"}]", "x,True")
                  .error("nlvr2")
                  .find("split-set-pair-sentence"),
              std::string::npos);
}
