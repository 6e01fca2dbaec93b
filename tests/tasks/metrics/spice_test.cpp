#include "tasks/metrics/spice.h"

#include "tests/tasks/metrics/fixture_files.h"
#include <cstdlib>
#include <filesystem>

using namespace dorabench;

namespace {

// A folder with a `java` that stands for the real one: it keeps its arguments and its input and prints a
// given output.
class Spice : public ::testing::Test {
protected:
    void SetUp() override {
        const char* path = std::getenv("PATH");
        path_ = path ? path : "";
        unsetenv("DORA_BENCH_SPICE");
        dorabench::test::put_file(folder_ / "spice.jar", "jar");
        setenv("PATH", (folder_.path() + ":" + path_).c_str(), 1);
    }
    void TearDown() override {
        setenv("PATH", path_.c_str(), 1);
        unsetenv("DORA_BENCH_SPICE");
    }
    // Both captions' scores, in the format of SPICE 1.0; last first, as its threads may end.
    void java(const std::string& output, int code = 0) {
        dorabench::test::put_file(folder_ / "output", output);
        dorabench::test::put_file(folder_ / "java",
                                  "#!/bin/sh\nd='" + folder_.path() +
                                      "'\necho \"$@\" > \"$d/arguments\"\ncp \"$4\" \"$d/input\"\n"
                                      "cp \"$d/output\" \"$6\"\necho noise\nexit " +
                                      std::to_string(code) + "\n");
        std::filesystem::permissions(folder_ / "java", std::filesystem::perms::owner_all);
    }
    std::string error() {
        try {
            spice(corpus_, folder_ / "spice.jar");
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::data);
            return error.what();
        }
        return "";
    }
    dorabench::test::TempDir folder_;
    std::string path_;
    const CaptionCorpus corpus_{{"a", "b"}, {"a dog", "a \"cat\""}, {{"dogs", "a dog"}, {"cats"}}};
};

const char* const kOutput =
    R"([{"image_id": 1, "test": "x", "refs": [], "scores": {"All": {"f": 0.25, "pr": 0.5, "re": 0.2}, "Color": {"f": null}}},
        {"image_id": 0, "scores": {"All": {"f": 1.0}}}])";

} // namespace

TEST_F(Spice, GivesTheJarTheCaptionsAndReadsItsScoresInTheCorpussOrder) {
    java(kOutput);
    const SpiceScores scores = spice(corpus_, folder_ / "spice.jar");
    EXPECT_EQ(scores.absent, "");
    EXPECT_EQ(scores.f, (std::vector<double>{1.0, 0.25}));
    const std::string arguments = read_file(folder_ / "arguments");
    EXPECT_EQ(arguments.find("-Xmx8G -jar " + (folder_ / "spice.jar") + " "), 0u) << arguments;
    EXPECT_EQ(
        read_file(folder_ / "input"),
        R"([{"image_id":0,"refs":["dogs","a dog"],"test":"a dog"},{"image_id":1,"refs":["cats"],"test":"a \"cat\""}])");
}

TEST_F(Spice, FindsTheJarInTheEnvironment) {
    java(kOutput);
    setenv("DORA_BENCH_SPICE", (folder_ / "spice.jar").c_str(), 1);
    EXPECT_EQ(spice(corpus_, "").f.size(), 2u);
}

TEST_F(Spice, SaysWhyThereAreNoScores) {
    EXPECT_NE(spice(corpus_, "").absent.find("--spice-jar"), std::string::npos);
    setenv("PATH", "/nowhere", 1);
    const SpiceScores scores = spice(corpus_, folder_ / "spice.jar");
    EXPECT_TRUE(scores.f.empty());
    EXPECT_NE(scores.absent.find("java"), std::string::npos);
}

TEST_F(Spice, RefusesAJarThatIsNotThereAFailureAndMissingScores) {
    EXPECT_THROW(spice(corpus_, folder_ / "other.jar"), Error);
    EXPECT_THROW(spice(corpus_, folder_.path()), Error);
    java(kOutput, 3);
    EXPECT_NE(error().find("ended with 3"), std::string::npos);
    for (const char* bad :
         {"", "[", "{}", "[]", "[null]", R"([{"image_id": 0, "scores": {"All": {"f": 0.5}}}])",
          R"([{"image_id": 0, "scores": {"All": 1}}, {"image_id": -1, "scores": []}])",
          R"([{"image_id": 0, "scores": {"All": {"f": 7}}}, {"image_id": 9e9, "scores": {}}])"}) {
        java(bad);
        EXPECT_NE(error(), "") << bad;
    }
}
