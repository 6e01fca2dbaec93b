#include "harness/api/registries.h"
#include "harness/cli/launch.h"
#include <cstdlib>
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

struct Asked {
    Registries registries;
    Globals globals;
    RunOptions options;
    RunPlan plan;
    Asked() {
        globals.registries = &registries;
        options.config = "my experiments/it's one.yaml";
        plan.name = "rank sweep";
    }
};

TEST(HelperWords, RepeatTheCommandQuietlyWithItsAxesPluginsAndOverrides) {
    Asked asked;
    asked.registries.plugins.push_back({"mine", "/opt/mine.so"});
    asked.options.axes = {"adapter.rank=2,4"};
    asked.options.overrides = {"seed=7", "select.over=train.learning_rate"};
    asked.options.allow_peek = true;
    std::vector<std::string> words = helper_words(asked.options, asked.globals, 2);
    EXPECT_THAT(words.front(), EndsWith("/dora-bench"));
    words.erase(words.begin());
    EXPECT_THAT(words,
                ElementsAre("--quiet", "--no-progress", "--threads", "2", "--plugin", "/opt/mine.so", "run",
                            "my experiments/it's one.yaml", "--no-report", "--axis", "adapter.rank=2,4",
                            "--allow-peek", "seed=7", "select.over=train.learning_rate"));
}

TEST(LaunchedByAnother, IsToldByTorchrunsOrSrunsVariables) {
    for (const char* name : {"RANK", "SLURM_PROCID", "SLURM_STEP_ID"}) unsetenv(name);
    EXPECT_FALSE(launched_by_another());
    setenv("SLURM_PROCID", "0", 1); // in a batch script, without srun
    EXPECT_FALSE(launched_by_another());
    setenv("SLURM_STEP_ID", "0", 1);
    EXPECT_TRUE(launched_by_another());
    unsetenv("SLURM_PROCID"), unsetenv("SLURM_STEP_ID");
    setenv("RANK", "0", 1);
    EXPECT_TRUE(launched_by_another());
    unsetenv("RANK");
}

TEST(SlurmRanges, JoinNeighboursAndCountFromTheBlocksStart) {
    EXPECT_EQ(slurm_ranges({0, 1, 2, 5}, 0), "0-2,5");
    EXPECT_EQ(slurm_ranges({1000, 1002, 1003, 1999}, 1000), "0,2-3,999");
    EXPECT_EQ(slurm_ranges({7}, 0), "7");
    EXPECT_EQ(slurm_ranges({}, 0), "");
}

TEST(SlurmScript, RunsOneEntryWithEveryWordQuoted) {
    Asked asked;
    asked.options.overrides = {"name=$(reboot) `x` \"y\""};
    const std::string script = slurm_script(asked.plan, asked.options, asked.globals, "/data/my logs/slurm");
    EXPECT_EQ(script.substr(0, 10), "#!/bin/sh\n");
    EXPECT_THAT(script, HasSubstr("#SBATCH --job-name=dora-bench-rank_sweep\n"));
    EXPECT_THAT(script, HasSubstr("#SBATCH --output=/data/my\\ logs/slurm/%A_%a.log\n"));
    EXPECT_THAT(script,
                HasSubstr("'my experiments/it'\\''s one.yaml' '--no-report' 'name=$(reboot) `x` \"y\"'"));
    EXPECT_THAT(
        script,
        HasSubstr("--threads \"${SLURM_CPUS_PER_TASK:-1}\" --entry \"$((SLURM_ARRAY_TASK_ID + $1))\"\n"));
    asked.globals.threads = 3; // the user's own number stands
    const std::string own = slurm_script(asked.plan, asked.options, asked.globals, "/x");
    EXPECT_THAT(own, HasSubstr("'--threads' '3'"));
    EXPECT_THAT(own, Not(HasSubstr("SLURM_CPUS_PER_TASK")));
}

} // namespace
} // namespace dorabench
