#include "harness/builtin.h"
#include "harness/cli/commands.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

Registries& registries() {
    static Registries all = [] {
        Registries r;
        register_builtin(r);
        return r;
    }();
    return all;
}

BenchOptions quick() {
    BenchOptions o;
    o.shapes = {"quickstart"}, o.methods = {"lora", "dora", "vera", "dvora", "ft"};
    o.rank = 4, o.tokens = 24, o.steps = 2, o.warmup = 1;
    return o;
}

std::vector<json> run(const BenchOptions& options) {
    Globals globals;
    globals.format = "json", globals.progress = false, globals.registries = &registries();
    testing::internal::CaptureStdout();
    const int code = bench_command(options, globals);
    std::istringstream out(testing::internal::GetCapturedStdout());
    EXPECT_EQ(code, 0);
    std::vector<json> lines;
    for (std::string line; std::getline(out, line);) lines.push_back(json::parse(line));
    return lines;
}

std::string refusal(const BenchOptions& options) {
    try {
        run(options);
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::config);
        (void)testing::internal::GetCapturedStdout();
        return e.what();
    }
    return "";
}

TEST(BenchCommand, PrintsOneLineAMethodWithWhatTheContractNames) {
    const auto lines = run(quick());
    ASSERT_EQ(lines.size(), 5u);
    std::map<std::string, json> by_method;
    for (const json& line : lines) {
        by_method[line["method"]] = line;
        for (const char* key :
             {"shape", "method", "rank", "tokens", "dtype", "device", "step_seconds", "step_seconds_min",
              "tokens_per_second", "peak_memory_bytes", "memory_before_bytes", "flops", "bytes"})
            EXPECT_TRUE(line.contains(key)) << key;
        EXPECT_EQ(line["tokens"], 24);
        EXPECT_EQ(line["step_seconds_all"].size(), 2u);
        EXPECT_GT(line["step_seconds_min"], 0);
        EXPECT_LE(line["step_seconds_min"], line["step_seconds"]);
        EXPECT_GT(line["loss"], 0);
    }
    EXPECT_GT(by_method["dora"]["trainable"], by_method["lora"]["trainable"]);
    EXPECT_GT(by_method["lora"]["trainable"], by_method["vera"]["trainable"]);
    EXPECT_GT(by_method["ft"]["trainable"], by_method["dora"]["trainable"]);
    EXPECT_GT(by_method["dora"]["flops"], by_method["lora"]["flops"]);
    EXPECT_GT(by_method["ft"]["flops"], by_method["dora"]["flops"]);
    EXPECT_TRUE(by_method["ft"]["rank"].is_null());
}

TEST(BenchCommand, TakesTheMethodsInTurnOrOneByOne) {
    BenchOptions o = quick();
    o.methods = {"lora", "dora"}, o.interleave = false;
    for (const json& line : run(o)) EXPECT_EQ(line["interleaved"], false);
}

TEST(BenchCommand, RefusesWhatItDoesNotKnow) {
    BenchOptions o = quick();
    o.shapes = {"llama-7b-slise"};
    EXPECT_NE(refusal(o).find("did you mean \"llama-7b-slice\""), std::string::npos) << refusal(o);
    o = quick(), o.methods = {"none"};
    EXPECT_NE(refusal(o).find("--method"), std::string::npos);
    o = quick(), o.dtypes = {"float8"};
    EXPECT_NE(refusal(o).find("--dtype"), std::string::npos);
    o = quick(), o.steps = 0;
    EXPECT_NE(refusal(o).find("--steps"), std::string::npos);
}

} // namespace
} // namespace dorabench
