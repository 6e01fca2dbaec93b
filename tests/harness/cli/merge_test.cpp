#include "adapters/adapter_set.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/builtin.h"
#include "harness/cli/merge.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::map<std::string, at::Tensor> tensors_of(const std::string& path) {
    std::map<std::string, at::Tensor> all;
    const Checkpoint checkpoint = Checkpoint::open(path);
    for (const auto& [name, place] : checkpoint.tensors()) all[name] = map_tensor(place.file, place.entry);
    return all;
}

struct Merge {
    Merge() { register_builtin(registries); }
    Json run(const std::string& checkpoint, const std::string& adapter, const std::string& to,
             const std::string& dtype = "") {
        return run(MergeOptions{checkpoint, adapter, to, dtype});
    }
    Json run(const MergeOptions& options, const MergeForm& form = {}) {
        Globals globals;
        globals.format = "json";
        globals.progress = false;
        globals.registries = &registries;
        testing::internal::CaptureStdout();
        int code = 1;
        try {
            code = merge_as(options, form, globals);
        } catch (...) {
            testing::internal::GetCapturedStdout();
            throw;
        }
        const std::string text = testing::internal::GetCapturedStdout();
        EXPECT_EQ(code, 0);
        return Json::parse(text);
    }
    Registries registries;
};

TEST(MergeCommand, WritesPeftsMergedWeightsForEveryMethod) {
    DORABENCH_NEEDS_SHARED();
    Merge merge;
    size_t seen = 0;
    for (const auto& entry : fs::directory_iterator(test::shared_dir() + "/golden/peft")) {
        const std::string folder = entry.path().string();
        if (!exists(folder + "/training.json")) continue;
        ++seen;
        test::TempDir dir;
        const Json said = merge.run(folder + "/checkpoint", folder + "/adapter", dir / "merged");
        EXPECT_LT(said["max_delta_logit"].get<double>(), 1e-5 * said["max_logit"].get<double>()) << folder;
        auto want = tensors_of(folder + "/checkpoint");
        for (const NamedTensor& named : read_tensors(folder + "/merged.safetensors"))
            want[want.count(named.name) ? named.name : named.name + ".weight"] = named.tensor;
        const auto have = tensors_of(dir / "merged");
        ASSERT_EQ(have.size(), want.size());
        for (const auto& [name, tensor] : want)
            EXPECT_LE(test::largest(have.at(name) - tensor), 2e-6) << folder << " " << name;
        EXPECT_EQ(read_file(dir / "merged/config.json"), read_file(folder + "/checkpoint/config.json"));
        EXPECT_TRUE(exists(dir / "merged/generation_config.json"));
    }
    EXPECT_EQ(seen, 7u);
}

TEST(MergeCommand, KeepsTheBasesShardsAndConvertsOnRequest) {
    DORABENCH_NEEDS_SHARED();
    const std::string folder = test::shared_dir() + "/golden/peft/dora";
    test::TempDir dir;
    fs::create_directory(dir / "sharded");
    std::vector<NamedTensor> parts[2];
    Json map = Json::object();
    for (const NamedTensor& named : read_tensors(folder + "/checkpoint/model.safetensors")) {
        const int part = named.name.find("layers.1.") != std::string::npos;
        parts[part].push_back({named.name, named.tensor.to(at::kBFloat16)});
        map[named.name] = part ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors";
    }
    write_tensors(dir / "sharded/model-00001-of-00002.safetensors", parts[0]);
    write_tensors(dir / "sharded/model-00002-of-00002.safetensors", parts[1]);
    write_file_atomic(dir / "sharded/model.safetensors.index.json",
                      Json{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}.dump());
    fs::copy_file(folder + "/checkpoint/config.json", dir / "sharded/config.json");
    Merge merge;
    merge.run(dir / "sharded", folder + "/adapter", dir / "same");
    const auto base = tensors_of(dir / "sharded"), same = tensors_of(dir / "same");
    ASSERT_EQ(same.size(), base.size());
    for (const auto& [name, tensor] : same) EXPECT_EQ(tensor.scalar_type(), at::kBFloat16) << name;
    EXPECT_TRUE(test::same_bits(same.at("model.norm.weight"), base.at("model.norm.weight")));
    EXPECT_FALSE(test::same_bits(same.at("model.layers.1.mlp.up_proj.weight"),
                                 base.at("model.layers.1.mlp.up_proj.weight")));
    const Json index = Json::parse(read_file(dir / "same/model.safetensors.index.json"));
    EXPECT_EQ(index["weight_map"], map);
    int64_t bytes = 0;
    for (const auto& [name, tensor] : base) bytes += int64_t(tensor.numel()) * 2;
    EXPECT_EQ(index["metadata"]["total_size"], bytes);
    merge.run(dir / "sharded", folder + "/adapter", dir / "wide", "float32");
    for (const auto& [name, tensor] : tensors_of(dir / "wide")) {
        EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
        EXPECT_TRUE(test::close(same.at(name), tensor, 4e-3)) << name; // one rounding apart
    }
    EXPECT_EQ(Json::parse(read_file(dir / "wide/config.json"))["dtype"], "float32");
}

const MergeForm kNf4{"nf4"}, kSingle{"nf4", false};

void expect_same_files(const std::string& a, const std::string& b) {
    for (const auto& entry : fs::directory_iterator(a)) {
        const std::string name = entry.path().filename().string();
        EXPECT_TRUE(read_file(entry.path().string()) == read_file(b + "/" + name)) << name;
    }
}

TEST(MergeCommand, WritesBitsandbytesCodesAndScales) {
    DORABENCH_NEEDS_SHARED();
    const std::string folder = test::shared_dir() + "/golden/nf4/nf4/";
    const auto golden = tensors_of(folder + "matrices.safetensors");
    test::TempDir dir;
    std::vector<NamedTensor> weights;
    for (const auto& [name, tensor] : golden)
        if (name.ends_with(".W"))
            weights.push_back({"part." + name.substr(0, name.size() - 2) + ".weight", tensor});
    ASSERT_EQ(weights.size(), 6u);
    fs::create_directory(dir / "base");
    write_tensors(dir / "base/model.safetensors", weights);
    Merge merge;
    merge.run({dir / "base", "", dir / "double"}, kNf4);
    merge.run({dir / "base", "", dir / "single"}, kSingle);
    const auto twice = tensors_of(dir / "double"), once = tensors_of(dir / "single");
    for (const NamedTensor& weight : weights) {
        const std::string m = weight.name.substr(5, weight.name.size() - 12), &name = weight.name;
        EXPECT_TRUE(test::same_bits(twice.at(name), golden.at(m + ".double.packed"))) << m;
        EXPECT_TRUE(test::same_bits(twice.at(name + ".absmax"), golden.at(m + ".double.absmax"))) << m;
        EXPECT_TRUE(
            test::close(twice.at(name + ".nested_absmax"), golden.at(m + ".double.state2.absmax"), 1e-6))
            << m;
        EXPECT_TRUE(
            test::close(twice.at(name + ".nested_quant_map"), golden.at(m + ".double.state2.code"), 1e-6))
            << m;
        EXPECT_TRUE(test::same_bits(once.at(name), golden.at(m + ".single.packed"))) << m;
        EXPECT_TRUE(test::close(once.at(name + ".absmax"), golden.at(m + ".single.absmax"), 1e-6)) << m;
        EXPECT_FALSE(once.count(name + ".nested_absmax")) << m;
    }
}

TEST(MergeCommand, AnNf4CheckpointReadAndWrittenAgainIsTheSameByteForByte) {
    const std::string base = test::golden("adapters/base");
    test::TempDir dir;
    Merge merge;
    merge.run({base, "", dir / "nf4"}, kNf4);
    merge.run({dir / "nf4", "", dir / "again"}, kNf4);
    expect_same_files(dir / "nf4", dir / "again");
    const Json config = Json::parse(read_file(dir / "nf4/config.json"))["quantization_config"];
    EXPECT_EQ(config["quant_method"], "bitsandbytes");
    EXPECT_EQ(config["bnb_4bit_quant_type"], "nf4");
    EXPECT_EQ(config["llm_int8_skip_modules"][0], "lm_head");
    const auto before = tensors_of(base), after = tensors_of(dir / "nf4");
    EXPECT_TRUE(test::same_bits(after.at("lm_head.weight"), before.at("lm_head.weight")));
    EXPECT_EQ(after.at("model.layers.0.mlp.up_proj.weight").scalar_type(), at::kByte);
}

TEST(MergeCommand, AShardedBaseIsQuantisedShardByShardWithItsIndex) {
    const std::string base = test::golden("adapters/base");
    test::TempDir dir;
    fs::create_directory(dir / "sharded");
    std::vector<NamedTensor> parts[2];
    Json map = Json::object();
    for (const NamedTensor& named : read_tensors(base + "/model.safetensors")) {
        const int part = named.name.find("mlp.") != std::string::npos;
        parts[part].push_back({named.name, named.tensor.to(at::kBFloat16)});
        map[named.name] = part ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors";
    }
    write_tensors(dir / "sharded/model-00001-of-00002.safetensors", parts[0]);
    write_tensors(dir / "sharded/model-00002-of-00002.safetensors", parts[1]);
    write_file_atomic(dir / "sharded/model.safetensors.index.json", Json{{"weight_map", map}}.dump());
    fs::copy_file(base + "/config.json", dir / "sharded/config.json");
    Merge merge;
    merge.run({dir / "sharded", "", dir / "nf4"}, kNf4);
    const auto tensors = tensors_of(dir / "nf4"); // opens by the index: every key where it says
    const Json places = Json::parse(read_file(dir / "nf4/model.safetensors.index.json"))["weight_map"];
    EXPECT_EQ(places.size(), tensors.size());
    const std::string name = "model.layers.0.mlp.up_proj.weight";
    EXPECT_EQ(places[name + ".absmax"], "model-00002-of-00002.safetensors");
    const at::Tensor bytes = tensors.at(name + ".quant_state.bitsandbytes__nf4");
    EXPECT_NE(std::string(bytes.const_data_ptr<uint8_t>(), bytes.const_data_ptr<uint8_t>() + bytes.numel())
                  .find("\"dtype\": \"bfloat16\""),
              std::string::npos);
}

TEST(MergeCommand, AnAdapterIsMergedBeforeItsBaseIsQuantised) {
    const std::string base = test::golden("adapters/base");
    test::TempDir dir;
    Merge merge;
    Globals globals;
    globals.format = "json";
    globals.registries = &merge.registries;
    testing::internal::CaptureStdout();
    EXPECT_EQ(import_command({test::golden("adapters/mlx"), dir / "adapter", base}, globals), 0);
    testing::internal::GetCapturedStdout();
    merge.run({base, dir / "adapter", dir / "nf4"}, kNf4);
    merge.run(base, dir / "adapter", dir / "dense");
    merge.run({dir / "dense", "", dir / "two_steps"}, kNf4);
    expect_same_files(dir / "nf4", dir / "two_steps");
}

TEST(MergeCommand, WithoutAnAdapterOnlyTheFormMayChange) {
    test::TempDir dir;
    Merge merge;
    EXPECT_THROW(merge.run(test::golden("adapters/base"), "", dir / "new"), Error);
    EXPECT_FALSE(exists(dir / "new"));
}

TEST(MergeCommand, WritesNothingWhereItMustNot) {
    DORABENCH_NEEDS_SHARED();
    const std::string folder = test::shared_dir() + "/golden/peft/dora";
    test::TempDir dir;
    fs::create_directory(dir / "full");
    write_file_atomic(dir / "full/notes.txt", "mine");
    Merge merge;
    EXPECT_THROW(merge.run(folder + "/checkpoint", folder + "/adapter", dir / "full"), Error);
    EXPECT_EQ(std::distance(fs::directory_iterator(dir / "full"), fs::directory_iterator()), 1);
    EXPECT_THROW(merge.run(folder + "/checkpoint",
                           test::shared_dir() + "/golden/peft/dora_patterns/checkpoint", dir / "new"),
                 Error);
    fs::create_directory(dir / "other"); // an adapter for a wider model
    fs::copy(folder + "/adapter", dir / "other", fs::copy_options::recursive);
    std::vector<NamedTensor> tensors;
    for (const NamedTensor& named : read_tensors(folder + "/adapter/adapter_model.safetensors"))
        tensors.push_back({named.name, at::cat({named.tensor, named.tensor}, -1)});
    write_tensors(dir / "other/adapter_model.safetensors", tensors);
    EXPECT_THROW(merge.run(folder + "/checkpoint", dir / "other", dir / "new"), Error);
    EXPECT_FALSE(exists(dir / "new"));
    EXPECT_FALSE(exists(dir / "new.partial"));
}

} // namespace
} // namespace dorabench
