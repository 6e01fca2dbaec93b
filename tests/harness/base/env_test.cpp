#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "tests/support/paths.h"
#include <vector>

namespace dorabench {
namespace {

TEST(ExitCode, FollowsTheContract) {
    EXPECT_EQ(exit_code(ErrorKind::config), 2);
    EXPECT_EQ(exit_code(ErrorKind::plugin), 2);
    EXPECT_EQ(exit_code(ErrorKind::incomparable), 4);
    EXPECT_EQ(exit_code(ErrorKind::data), 6);
    EXPECT_EQ(exit_code(ErrorKind::check), 7);
    EXPECT_EQ(exit_code(ErrorKind::resources), 8);
    EXPECT_EQ(exit_code(ErrorKind::interrupted), 130);
    EXPECT_EQ(exit_code(ErrorKind::failed), 1);
    EXPECT_EQ(exit_code(ErrorKind::internal), 1);
}

TEST(Env, FindsWhatComesWithTheProgram) {
    EXPECT_TRUE(is_folder(share_folder())) << share_folder();
    EXPECT_TRUE(is_folder(share_folder() + "/specs"));
    EXPECT_EQ(executable_folder(), dorabench::test::binary_dir());
}

TEST(Env, KnowsItsBuild) {
    EXPECT_EQ(version(), "0.1.0");
    std::string hash = commit();
    EXPECT_TRUE(hash == "unknown" ||
                hash.substr(0, 40).find_first_not_of("0123456789abcdef") == std::string::npos)
        << hash;
}

TEST(Env, MeasuresMemory) {
    int64_t before = resident_bytes();
    ASSERT_GT(before, 0);
    {
        std::vector<char> block(64 << 20, 1); // touched
        EXPECT_GT(resident_bytes(), before + (60 << 20));
        EXPECT_EQ(block.back(), 1);
    }
    EXPECT_GT(peak_resident_bytes(), before + (60 << 20));
    EXPECT_GT(available_memory_bytes(), 0);
    EXPECT_NE(host_description().find("cores"), std::string::npos);
}

TEST(Env, TellsUnsetFromEmpty) {
    ::setenv("DORABENCH_TEST_EMPTY", "", 1);
    EXPECT_EQ(environment("DORABENCH_TEST_EMPTY"), "");
    EXPECT_EQ(environment("DORABENCH_TEST_NEVER_SET"), std::nullopt);
}

TEST(Log, WritesLevelsToScreenAndEverythingToTheFile) {
    test::TempDir folder;
    log::set_file(folder / "log.txt");
    testing::internal::CaptureStderr();
    log::debug("not on screen ", 1);
    log::info("plain ", 2);
    log::warning("careful ", 3);
    std::string screen = testing::internal::GetCapturedStderr(), file = read_file(folder / "log.txt");
    log::set_file("");
    EXPECT_EQ(screen, "plain 2\nwarning: careful 3\n");
    EXPECT_NE(file.find("debug not on screen 1"), std::string::npos) << file;
    EXPECT_NE(file.find("warning careful 3"), std::string::npos) << file;
    EXPECT_THROW(log::set_file(folder.path()), Error);
}

TEST(Progress, PrintsPlainLinesWhereThereIsNoTerminal) {
    testing::internal::CaptureStderr();
    {
        Progress progress("training", 1000);
        for (int64_t step = 1; step <= 1000; ++step) progress.update(step, "loss 1.5");
    }
    std::string text = testing::internal::GetCapturedStderr();
    EXPECT_EQ(text.rfind("training 1,000/1,000 (100%), ", 0), 0u) << text;
    EXPECT_NE(text.find("loss 1.5\n"), std::string::npos);
    set_progress_enabled(false);
    testing::internal::CaptureStderr();
    Progress("quiet", 1).update(1);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    set_progress_enabled(true);
}

} // namespace
} // namespace dorabench
