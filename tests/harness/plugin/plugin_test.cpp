// What the loader refuses, with objects that the machine's C compiler makes here: only the C entry matters to
// it.
#include "harness/api/plugin.h"
#include "harness/base/error.h"
#include "harness/plugin/plugin.h"
#include "tests/support/paths.h"
#include <cstdlib>
#include <fstream>
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Entry { // what DORABENCH_PLUGIN() would have written
    std::string size = "sizeof(struct plugin)", abi = std::to_string(kPluginAbi), torch = TORCH_VERSION,
                compiler = DORABENCH_COMPILER_ABI, registers = "nothing";
    std::string returned = "&entry";
};

class PluginTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (std::system("cc --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no C compiler is on PATH";
    }

    std::string object(const std::string& source) {
        const std::string path = temp_ / ("plugin" + std::to_string(++count_));
        std::ofstream(path + ".c") << source;
        EXPECT_EQ(std::system(("cc -shared -fPIC -o " + path + ".so " + path + ".c").c_str()), 0);
        return path + ".so";
    }

    std::string with(const Entry& entry) {
        return object(
            "#include <stdint.h>\n"
            "struct plugin { uint32_t size, abi; const char *torch, *compiler, *name; void (*f)(void*); };\n"
            "static void nothing(void* registries) { (void)registries; }\n"
            "static const struct plugin entry = {" +
            entry.size + ", " + entry.abi + ", \"" + entry.torch + "\", \"" + entry.compiler +
            "\", \"made here\", " + entry.registers +
            "};\nconst struct plugin* dorabench_plugin_v1(void) { return " + entry.returned + "; }\n");
    }

    std::string refusal(const std::string& path) {
        try {
            load_plugin(path, registries_);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::plugin);
            EXPECT_THAT(error.what(), HasSubstr(path));
            EXPECT_TRUE(registries_.plugins.empty());
            return error.what();
        }
        ADD_FAILURE() << path << " was loaded";
        return "";
    }

    test::TempDir temp_;
    Registries registries_;
    int count_ = 0;
};

TEST_F(PluginTest, LoadsWhatWasBuiltAlikeOnce) {
    const std::string path = with({});
    load_plugin(path, registries_);
    load_plugin(path, registries_);
    ASSERT_EQ(registries_.plugins.size(), 1u);
    EXPECT_EQ(registries_.plugins.front().name, "made here");
}

TEST_F(PluginTest, RefusesAnotherAbiNumberWithBothSides) {
    Entry entry;
    entry.abi = std::to_string(kPluginAbi + 1);
    EXPECT_THAT(refusal(with(entry)),
                AllOf(HasSubstr("ABI number: expected " + std::to_string(kPluginAbi)),
                      HasSubstr("got " + std::to_string(kPluginAbi + 1)), HasSubstr("build it again")));
}

TEST_F(PluginTest, RefusesAnotherLibTorchWithBothSides) {
    Entry entry;
    entry.torch = "1.13.1";
    EXPECT_THAT(refusal(with(entry)), AllOf(HasSubstr("LibTorch: expected " + std::string(TORCH_VERSION)),
                                            HasSubstr("got 1.13.1")));
}

TEST_F(PluginTest, RefusesAnotherCompilerAndNamesEverythingThatDiffers) {
    Entry entry;
    entry.compiler = "tcc, C++ ABI 0";
    entry.torch = "3.0.0";
    EXPECT_THAT(refusal(with(entry)),
                AllOf(HasSubstr("compiler: expected " + std::string(DORABENCH_COMPILER_ABI)),
                      HasSubstr("got tcc, C++ ABI 0"), HasSubstr("got 3.0.0")));
}

TEST_F(PluginTest, RefusesAnEntryOfAnotherSizeBeforeReadingOn) {
    Entry entry;
    entry.size = "8";
    EXPECT_THAT(refusal(with(entry)),
                AllOf(HasSubstr("size of its entry: expected " + std::to_string(sizeof(DorabenchPlugin)) +
                                " bytes, got 8")));
}

TEST_F(PluginTest, RefusesWhatIsNoPlugin) {
    Entry entry;
    entry.returned = "0";
    EXPECT_THAT(refusal(with(entry)), HasSubstr("returned nothing"));
    entry = {};
    entry.registers = "0";
    EXPECT_THAT(refusal(with(entry)), HasSubstr("names no function that registers"));
    EXPECT_THAT(refusal(object("int nothing_of_ours;\n")), HasSubstr("has no symbol dorabench_plugin_v1"));
    std::ofstream(temp_ / "text.so") << "not an object";
    EXPECT_THAT(refusal(temp_ / "text.so"), HasSubstr("cannot be loaded"));
    EXPECT_THAT(refusal(temp_ / "absent.so"), HasSubstr("expected a shared object"));
}

} // namespace
} // namespace dorabench
