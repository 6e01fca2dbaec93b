#include "harness/base/error.h"
#include "harness/builtin.h"
#include "harness/cli/commands.h"
#include "tests/support/paths.h"
#include <fstream>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

constexpr const char* kGood =
    "name: t\nbackend: {type: llama, shape: llama-7b}\nadapter:\n  method: dora\n  rank: 8\n  alpha: 16\n"
    "  target_modules: [q_proj, v_proj]\n";

struct Outcome {
    int code;
    std::string out, err;
};

class Validate : public ::testing::Test {
protected:
    void SetUp() override { register_builtin(registries_); }
    std::string add(const std::string& name, const std::string& text) {
        std::ofstream(folder_ / name) << text;
        return folder_ / name;
    }
    Outcome run(const std::vector<std::string>& configs, const std::string& format = "text") {
        Globals globals;
        globals.format = format;
        globals.registries = &registries_;
        testing::internal::CaptureStdout();
        testing::internal::CaptureStderr();
        int code = validate_command(configs, {}, globals);
        std::string out = testing::internal::GetCapturedStdout();
        return {code, out, testing::internal::GetCapturedStderr()};
    }
    test::TempDir folder_;
    Registries registries_;
};

TEST_F(Validate, SaysHowManyRunsAFileMakes) {
    std::string one = add("one.yaml", kGood),
                many = add("many.yaml",
                           std::string(kGood) + "seed: [1, 2]\nsweep: {adapter.rank: [4, 8, 16]}\n");
    Outcome outcome = run({one, many});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_EQ(outcome.out, one + ": ok, 1 run\n" + many + ": ok, 6 runs\n");
    EXPECT_EQ(outcome.err, "");
}

TEST_F(Validate, GoesOnBehindABadFile) {
    std::string bad = add("bad.yaml",
                          "backend: {type: llama, shape: llama-7b}\nadapter: {method: ft, rnak: 1}\n"),
                good = add("good.yaml", kGood);
    Outcome outcome = run({bad, good});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_EQ(outcome.out, good + ": ok, 1 run\n");
    EXPECT_NE(outcome.err.find("bad.yaml:2:23: adapter.rnak: no such key"), std::string::npos) << outcome.err;
}

TEST_F(Validate, ChecksTargetModulesAgainstTheShapes) {
    std::string text = kGood;
    text.replace(text.find("q_proj, v_proj"), 14, "q_prj, v_proj");
    Outcome outcome = run({add("bad.yaml", text)});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_NE(outcome.err.find("bad.yaml:7:"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("q_prj"), std::string::npos) << outcome.err;
}

TEST_F(Validate, PrintsJson) {
    Outcome outcome =
        run({add("bad.yaml", std::string(kGood) + "sede: 1\n"), folder_ / "absent.yaml"}, "json");
    auto json = nlohmann::json::parse(outcome.out);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_EQ(json[0]["ok"], false);
    EXPECT_EQ(json[0]["errors"][0]["line"], 8);
    EXPECT_EQ(json[0]["errors"][0]["key"], "sede");
    EXPECT_EQ(json[0]["errors"][0]["suggestion"], "did you mean \"seed\"?");
    EXPECT_TRUE(json[1]["errors"][0]["line"].is_null());
}

TEST(SchemaCommand, PrintsBothSchemasAndNoOther) {
    for (const char* what : {"config", "result"}) {
        testing::internal::CaptureStdout();
        EXPECT_EQ(schema_command(what, {}), 0);
        auto json = nlohmann::json::parse(testing::internal::GetCapturedStdout());
        EXPECT_EQ(json["$schema"], "http://json-schema.org/draft-07/schema#");
    }
    testing::internal::CaptureStdout();
    schema_command("result", {});
    auto result = nlohmann::json::parse(testing::internal::GetCapturedStdout());
    EXPECT_EQ(result["properties"]["rank"]["type"], nlohmann::json({"integer", "null"}));
    EXPECT_EQ(result["required"][0], "schema_version");
    EXPECT_THROW(schema_command("results", {}), Error);
}

} // namespace
} // namespace dorabench
