#include "harness/base/files.h"
#include "harness/builtin.h"
#include "harness/cli/commands.h"
#include "tests/support/paths.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <set>

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

std::vector<json> of_kind(const std::vector<json>& lines, const std::string& kind) {
    std::vector<json> out;
    std::copy_if(lines.begin(), lines.end(), std::back_inserter(out),
                 [&](const json& line) { return line["kind"] == kind; });
    return out;
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
    const auto lines = of_kind(run(quick()), "step");
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
    for (const json& line : of_kind(run(o), "step")) EXPECT_EQ(line["interleaved"], false);
}

TEST(BenchCommand, PrintsEveryOpWithItsPartOfTheRoofline) {
    BenchOptions o = quick();
    o.methods = {"lora"}, o.ops = true;
    std::set<std::string> names;
    for (const json& line : of_kind(run(o), "op")) {
        names.insert(line["op"]);
        EXPECT_GT(line["seconds"], 0) << line;
        EXPECT_GT(line["roofline_fraction"], 0) << line;
        EXPECT_TRUE(line["bound"] == "compute" || line["bound"] == "memory") << line;
    }
    for (const char* name : {"linear", "lora_linear", "dora_linear", "dora_norm", "rms_norm", "swiglu",
                             "rope", "low_rank_compose", "scale_and_reduce", "linear_cross_entropy", "adamw"})
        EXPECT_TRUE(names.contains(name)) << name;
}

TEST(BenchCommand, RunsAnotherToolsScriptInTurnWithOurs) {
    const test::TempDir dir;
    write_file_atomic(dir / "step.sh",
                      "echo noise; echo '{\"tool\": \"other\", \"step_s_median\": 2.0, "
                      "\"step_s_min\": 1.5, \"memory_before_mib\": 1, "
                      "\"memory_peak_mib\": 3}'; echo \"$@\" >> \"$(dirname \"$0\")/calls\"");
    BenchOptions o = quick();
    o.methods = {"lora", "dvora"}, o.peer = dir / "step.sh", o.python = "sh", o.rounds = 2;
    const auto lines = run(o);
    const auto calls = read_file(dir / "calls");
    EXPECT_EQ(std::count(calls.begin(), calls.end(), '\n'), 2); // two rounds of LoRA; nobody else has DVoRA
    EXPECT_NE(calls.find("--preset quickstart --method lora --rank 4 --seqlen 24 --dtype fp32"),
              std::string::npos)
        << calls;
    bool told = false;
    for (const json& line : of_kind(lines, "ratio")) {
        if (line["name"] != "lora (dora-bench) / lora (other)") continue;
        told = true;
        EXPECT_LT(line["medians"], 1);
    }
    EXPECT_TRUE(told);
    for (const json& line : of_kind(lines, "step"))
        if (line["tool"] == "other") {
            EXPECT_EQ(line["peak_memory_bytes"], 2 << 20);
            EXPECT_EQ(line["rounds"], 2);
        } else {
            EXPECT_EQ(line["step_seconds_all"].size(), 4u);
        }
    write_file_atomic(dir / "step.sh", "exit 3");
    try {
        run(o);
        FAIL() << "a failing script was accepted";
    } catch (const Error& e) {
        (void)testing::internal::GetCapturedStdout();
        EXPECT_NE(std::string(e.what()).find("step.sh"), std::string::npos) << e.what();
    }
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
