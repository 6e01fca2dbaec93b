#include "adapters/adapter_set.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/builtin.h"
#include "harness/cli/commands.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include <ATen/ops/eye.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using Json = nlohmann::json;

Json analyze(const AnalyzeOptions& options, const std::string& format = "json") {
    Registries registries;
    register_builtin(registries);
    Globals globals;
    globals.format = format;
    globals.registries = &registries;
    testing::internal::CaptureStdout();
    int code = 1;
    try {
        code = analyze_command(options, globals);
    } catch (...) {
        testing::internal::GetCapturedStdout();
        throw;
    }
    const std::string text = testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, 0);
    return format == "json" ? Json::parse(text) : Json(text);
}

TEST(AnalyzeCommand, EqualsTheReferenceDecompositions) {
    DORABENCH_NEEDS_SHARED();
    const std::string folder = test::shared_dir() + "/golden/decomposition/basic";
    const Json expected = Json::parse(read_file(folder + "/expected.json"));
    const std::vector<NamedTensor> weights = read_tensors(folder + "/weights.safetensors");
    auto with_prefix = [&](const std::string& prefix) {
        std::vector<NamedTensor> out;
        for (const NamedTensor& named : weights)
            if (named.name.starts_with(prefix))
                out.push_back({named.name.substr(prefix.size()), named.tensor});
        return out;
    };
    for (const auto& [method, facts] : expected.items()) {
        std::vector<NamedTensor> base, tuned; // all checkpoints of a method together, for the correlation
        std::map<std::string, Json> want;
        for (const Json& row : facts["rows"]) {
            const std::string step = std::to_string(row["checkpoint"].get<int>());
            const std::string layer = "layers." + std::to_string(row["layer"].get<int>()) + ".weight",
                              name = "step" + step + "." + layer;
            want[name] = row["code_rows"];
            for (const NamedTensor& named : with_prefix("base."))
                if (named.name == layer) base.push_back({name, named.tensor});
            for (const NamedTensor& named : with_prefix(method + ".step" + step + "."))
                if (named.name == layer) tuned.push_back({name, named.tensor});
        }
        test::TempDir dir;
        write_tensors(dir / "base.safetensors", base);
        write_tensors(dir / "tuned.safetensors", tuned);
        const Json got = analyze({{}, dir / "base.safetensors", dir / "tuned.safetensors"});
        ASSERT_EQ(got["rows"].size(), want.size()) << method;
        for (const Json& row : got["rows"]) {
            EXPECT_NEAR(row["delta_m"], want[row["name"]]["delta_M"], 1e-6) << method;
            EXPECT_NEAR(row["delta_d"], want[row["name"]]["delta_D"], 1e-6) << method;
        }
        const Json& pearson = facts["code_rows"]["pearson_D_M"];
        ASSERT_EQ(got["pearson"].is_null(), pearson.is_null()) << method;
        if (pearson.is_null()) continue;
        EXPECT_NEAR(got["pearson"], pearson, 1e-4) << method;
        EXPECT_NEAR(got["slope"], facts["code_rows"]["slope_M_on_D"], 1e-4) << method;
    }
}

TEST(AnalyzeCommand, KnowsRowsOfZerosAndLeavesOutWhatDoesNotPair) {
    test::TempDir dir;
    at::Tensor a = at::ones({4, 3}), b = at::ones({4, 3});
    a[0].zero_();
    b[0].zero_();  // stays zero: unchanged
    a[1].zero_();  // wakes up
    b[2].mul_(-2); // turns round and doubles
    write_tensors(dir / "a.safetensors", {{"w", a}, {"only_a", a}, {"shape", a}, {"vector", at::ones({3})}});
    write_tensors(dir / "b.safetensors",
                  {{"w", b}, {"only_b", b}, {"shape", at::ones({3, 4})}, {"vector", at::ones({3})}});
    const Json got = analyze({{}, dir / "a.safetensors", dir / "b.safetensors"});
    ASSERT_EQ(got["rows"].size(), 1u);
    const double root3 = std::sqrt(3.0);
    EXPECT_NEAR(got["rows"][0]["delta_m"], (0 + root3 + root3 + 0) / 4, 1e-12);
    EXPECT_NEAR(got["rows"][0]["delta_d"], (0 + 1 + 2 + 0) / 4.0, 1e-12);
    EXPECT_TRUE(got["pearson"].is_null());
    const std::string text = analyze({{}, dir / "a.safetensors", dir / "b.safetensors"}, "text");
    EXPECT_NE(text.find("0.75"), std::string::npos) << text;
}

TEST(AnalyzeCommand, TellsSpectrumNormsAndTheCorrelationsInterval) {
    test::TempDir dir;
    std::vector<NamedTensor> base, tuned;
    for (int i = 0; i < 5; ++i) {
        const std::string name = "model.layers." + std::to_string(i) + ".self_attn.q_proj.weight";
        at::Tensor before = at::eye(3), after = at::eye(3);
        after[0][0] = 1.0 + 0.1 * (i + 1);
        after[1][2] = 0.05 * (i + 1) * (i == 2 ? 2 : 1);
        base.push_back({name, before});
        tuned.push_back({name, after});
    }
    write_tensors(dir / "a.safetensors", base);
    write_tensors(dir / "b.safetensors", tuned);
    AnalyzeOptions options{{}, dir / "a.safetensors", dir / "b.safetensors"};
    options.spectrum = 2;
    const Json got = analyze(options);
    const Json& first = got["rows"][0];
    EXPECT_EQ(first["module"], "q_proj");
    EXPECT_EQ(first["layer"], 0);
    ASSERT_EQ(first["singular_values"].size(), 2u);
    EXPECT_NEAR(first["singular_values"][0], 0.1, 1e-6);
    EXPECT_NEAR(first["singular_values"][1], 0.05, 1e-6);
    EXPECT_NEAR(first["norm_change"]["mean"], (0.1 + std::sqrt(1 + 0.05 * 0.05) - 1) / 3, 1e-6);
    const double z = std::atanh(got["pearson"].get<double>()), half = 1.959963984540054 / std::sqrt(5 - 3);
    EXPECT_NEAR(got["pearson_ci95"][0], std::tanh(z - half), 1e-9);
    EXPECT_NEAR(got["pearson_ci95"][1], std::tanh(z + half), 1e-9);
    EXPECT_LT(got["pearson_ci95"][0], got["pearson"]);
}

TEST(AnalyzeCommand, KeepsTheWeightsWhoseModuleFits) {
    test::TempDir dir;
    std::vector<NamedTensor> base, tuned;
    for (const char* name : {"layers.0.q_proj.weight", "layers.0.v_proj.weight", "layers.1.q_proj.weight"}) {
        base.push_back({name, at::eye(2)});
        tuned.push_back({name, at::eye(2) * (2.0 + static_cast<double>(base.size()))});
    }
    write_tensors(dir / "a.safetensors", base);
    write_tensors(dir / "b.safetensors", tuned);
    AnalyzeOptions options{{}, dir / "a.safetensors", dir / "b.safetensors"};
    auto rows = [&](const std::string& pattern) {
        options.module = pattern;
        return analyze(options)["rows"].size();
    };
    EXPECT_EQ(rows("q_proj"), 2u);
    EXPECT_EQ(rows("[qv]_proj"), 3u);
    EXPECT_EQ(rows("layers.0.*"), 2u); // by the whole name too
    EXPECT_THROW(rows("k_proj"), Error);
}

TEST(AnalyzeCommand, RefusesOptionsThatDoNotFitTogether) {
    test::TempDir dir;
    EXPECT_THROW(analyze({}), Error);
    EXPECT_THROW(analyze({{"run"}, "base", "tuned"}), Error);
    EXPECT_THROW(analyze({{}, "base", ""}), Error);
    write_tensors(dir / "a.safetensors", {{"a", at::ones({2, 2})}});
    write_tensors(dir / "b.safetensors", {{"b", at::ones({2, 2})}});
    EXPECT_THROW(analyze({{}, dir / "a.safetensors", dir / "b.safetensors"}), Error);
    EXPECT_THROW(analyze({{dir.path()}, "", ""}), Error); // no adapter in that folder
}

TEST(AnalyzeCommand, MergesTheAdapterOfARun) {
    DORABENCH_NEEDS_SHARED();
    const std::string golden = test::shared_dir() + "/golden/peft/dora";
    test::TempDir dir;
    std::filesystem::create_directory(dir / "run");
    std::filesystem::copy(golden + "/adapter", dir / "run/adapter", std::filesystem::copy_options::recursive);
    write_file_atomic(dir / "run/config.yaml",
                      "backend: {type: llama, checkpoint: " + golden + "/checkpoint}\n");
    std::vector<NamedTensor> base, tuned;
    for (const NamedTensor& named : read_tensors(golden + "/checkpoint/model.safetensors"))
        base.push_back(named);
    const Json got = analyze({{dir / "run"}, "", ""});
    for (const NamedTensor& named : read_tensors(golden + "/merged.safetensors"))
        tuned.push_back(
            {named.name.ends_with(".weight") ? named.name : named.name + ".weight", named.tensor});
    write_tensors(dir / "tuned.safetensors", tuned);
    const Json want = analyze({{}, golden + "/checkpoint", dir / "tuned.safetensors"});
    ASSERT_EQ(got["rows"].size(), want["rows"].size());
    std::map<std::string, Json> by_name;
    for (const Json& row : want["rows"]) by_name[row["name"]] = row;
    for (const Json& row : got["rows"]) {
        EXPECT_NEAR(row["delta_m"], by_name[row["name"]]["delta_m"], 1e-6);
        EXPECT_NEAR(row["delta_d"], by_name[row["name"]]["delta_d"], 1e-6);
    }
}

} // namespace
} // namespace dorabench
