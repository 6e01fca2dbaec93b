// Files as the tools of the field write them (tests/golden/adapters, tests/golden/diffusers): imported,
// merged into their base, and compared with the weights that each tool's own mathematics gives.
#include "adapters/adapter_set.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/builtin.h"
#include "harness/cli/commands.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include <fstream>
#include <gmock/gmock.h>
#include <map>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::HasSubstr;

std::map<std::string, at::Tensor> by_name(const std::string& path) {
    std::map<std::string, at::Tensor> all;
    for (const NamedTensor& t : read_tensors(path)) all[t.name] = t.tensor;
    return all;
}

struct Formats : ::testing::Test {
    Formats() { register_builtin(registries); }
    template <typename Options>
    Json run(int (*command)(const Options&, const Globals&), const Options& options) {
        Globals g;
        g.format = "json";
        g.progress = false;
        g.registries = &registries;
        ::testing::internal::CaptureStdout();
        try {
            EXPECT_EQ(command(options, g), 0);
        } catch (...) {
            ::testing::internal::GetCapturedStdout();
            throw;
        }
        return Json::parse(::testing::internal::GetCapturedStdout());
    }
    std::string refusal(const ImportOptions& options) {
        try {
            run(import_command, options);
        } catch (const Error& error) {
            EXPECT_FALSE(exists(options.to));
            EXPECT_FALSE(exists(options.to + ".partial"));
            return error.what();
        }
        return "accepted";
    }
    // import, merge, and each weight that the tool changes; every other one keeps its bits.
    void expect_merged(const std::string& format, const std::string& source, const std::string& base,
                       const std::string& expected) {
        const std::string adapter = dir / ("adapter_" + format), to = dir / ("merged_" + format);
        EXPECT_EQ(run(import_command, ImportOptions{source, adapter, base})["format"], format);
        run(merge_command, MergeOptions{base, adapter, to});
        expect_weights(to + "/model.safetensors", base + "/model.safetensors", by_name(expected));
    }
    void expect_weights(const std::string& file, const std::string& base,
                        const std::map<std::string, at::Tensor>& changed) {
        const auto got = by_name(file), before = by_name(base);
        ASSERT_EQ(got.size(), before.size());
        for (const auto& [name, tensor] : before) {
            const auto at = changed.find(name);
            if (at == changed.end())
                EXPECT_TRUE(test::same_bits(got.at(name), tensor)) << name;
            else
                EXPECT_TRUE(test::close(got.at(name), at->second, 2e-6)) << file << " " << name;
        }
        for (const auto& [name, tensor] : changed) EXPECT_TRUE(before.count(name)) << name;
    }
    static std::string file(const std::string& name) { return test::golden("adapters/" + name); }
    static std::string picture(const std::string& name) { return test::golden("diffusers/" + name); }
    // "unet.<name>" → the tensors of one model of the pipeline
    std::map<std::string, at::Tensor> part(const std::string& path, const std::string& model) {
        std::map<std::string, at::Tensor> all;
        for (const auto& [name, tensor] : by_name(path))
            if (name.rfind(model + ".", 0) == 0) all[name.substr(model.size() + 1)] = tensor;
        return all;
    }
    void expect_pipeline(const std::string& folder, const std::string& expected) {
        expect_weights(folder + "/unet/diffusion_pytorch_model.safetensors",
                       picture("pipeline/unet/diffusion_pytorch_model.safetensors"), part(expected, "unet"));
        expect_weights(folder + "/text_encoder/model.safetensors",
                       picture("pipeline/text_encoder/model.safetensors"), part(expected, "text_encoder"));
    }

    Registries registries;
    test::TempDir dir;
};

TEST_F(Formats, EachToolsFileMergesToThatToolsWeights) {
    expect_merged("nvlabs", file("nvlabs"), file("base"), file("expected_nvlabs.safetensors"));
    expect_merged("torchtune", file("torchtune"), file("base"), file("expected_torchtune.safetensors"));
    expect_merged("mlx", file("mlx"), file("base"), file("expected_mlx.safetensors"));
    expect_merged("kohya", file("kohya.safetensors"), file("base"), file("expected_kohya.safetensors"));
    expect_merged("fsdp_qlora", file("fsdp_qlora"), file("base"), file("expected_fsdp_qlora.safetensors"));
    expect_merged("vl-bart", file("vlbart/BEST.pth"), file("bart"), file("expected_vlbart.safetensors"));
}

TEST_F(Formats, WhatIsAnotherMethodIsRefusedWithTheReason) {
    EXPECT_THAT(refusal({file("kohya_in.safetensors"), dir / "out", file("base")}),
                HasSubstr("one value per input"));
    EXPECT_THAT(refusal({file("catid.safetensors"), dir / "out", file("base")}),
                HasSubstr("one magnitude per input"));
    EXPECT_THAT(refusal({file("kohya_tucker.safetensors"), dir / "out", file("base")}),
                HasSubstr("lora_mid"));
    ImportOptions square{file("kohya_square.safetensors"), dir / "out", file("base")};
    EXPECT_THAT(refusal(square), HasSubstr("--dora-axis out"));
    square.dora_axis = "in";
    EXPECT_THAT(refusal(square), HasSubstr("one value per input"));
    square.dora_axis = "out";
    run(import_command, square);
    run(merge_command, MergeOptions{file("base"), dir / "out", dir / "merged"});
    expect_weights(dir / "merged/model.safetensors", file("base") + "/model.safetensors",
                   by_name(file("expected_kohya.safetensors")));
}

TEST_F(Formats, APipelinesLinearLayersAndConvolutionsMergeToPeftsWeights) {
    for (const std::string source : {"pytorch_lora_weights.safetensors", "older.safetensors"}) {
        const Json said =
            run(import_command, ImportOptions{picture(source), dir / source, picture("pipeline")});
        EXPECT_EQ(said["format"], "diffusers");
        EXPECT_EQ(said["models"], (Json{"text_encoder", "unet"}));
        EXPECT_EQ(run(merge_command, MergeOptions{picture("pipeline"), dir / source,
                                                  dir / ("merged_" + source)})["merged_tensors"],
                  56);
        expect_pipeline(dir / ("merged_" + source), picture("expected.safetensors"));
        EXPECT_TRUE(exists(dir / ("merged_" + source) + "/model_index.json"));
        EXPECT_TRUE(exists(dir / ("merged_" + source) + "/unet/config.json"));
    }
}

TEST_F(Formats, APipelinesScalingIsThatOfTheHeaderWhereItHasOne) {
    run(import_command, ImportOptions{picture("metadata/pytorch_lora_weights.safetensors"), dir / "adapter",
                                      picture("pipeline")});
    EXPECT_EQ(read_adapter_settings(dir / "adapter/unet").alpha, 6);
    run(merge_command, MergeOptions{picture("pipeline"), dir / "adapter", dir / "merged"});
    expect_pipeline(dir / "merged", picture("metadata/expected.safetensors"));
}

TEST_F(Formats, KohyasConvolutionsMergeAsTheSameOnesOfDiffusers) {
    const std::string unet = picture("pipeline/unet");
    EXPECT_EQ(
        run(import_command, ImportOptions{picture("kohya.safetensors"), dir / "adapter", unet})["format"],
        "kohya");
    run(merge_command, MergeOptions{unet, dir / "adapter", dir / "merged"});
    expect_weights(dir / "merged/diffusion_pytorch_model.safetensors",
                   unet + "/diffusion_pytorch_model.safetensors",
                   part(picture("expected.safetensors"), "unet"));
}

TEST_F(Formats, AConvolutionsTensorsLeaveInPeftsShapes) {
    run(import_command, ImportOptions{picture("pytorch_lora_weights.safetensors"), dir / "adapter", ""});
    const auto tensors = by_name(dir / "adapter/unet/adapter_model.safetensors");
    const auto original = by_name(picture("pytorch_lora_weights.safetensors"));
    for (const auto& [name, tensor] : tensors) {
        const std::string stored = "unet." + name.substr(std::string("base_model.model.").size());
        EXPECT_TRUE(test::same_bits(tensor, original.at(stored))) << name;
    }
    EXPECT_EQ(tensors.at("base_model.model.conv_in.lora_magnitude_vector").sizes(),
              (at::IntArrayRef{1, 8, 1, 1}));
    EXPECT_EQ(read_adapter_settings(dir / "adapter/unet").method, "dora");
    EXPECT_EQ(Json::parse(read_file(dir / "adapter/unet/adapter_config.json"))["task_type"], nullptr);
}

TEST_F(Formats, ConvolutionsThatDoNotFitAreRefusedByKey) {
    const std::string key = "unet.conv_in.lora_A.weight", changed = dir / "changed.safetensors";
    auto with = [&](const std::string& name, const at::Tensor& value) {
        std::vector<NamedTensor> all;
        for (const NamedTensor& t : read_tensors(picture("pytorch_lora_weights.safetensors")))
            all.push_back({t.name, t.name == name ? value : t.tensor});
        if (std::none_of(all.begin(), all.end(), [&](const NamedTensor& t) { return t.name == name; }))
            all.push_back({name, value});
        write_tensors(changed, all);
        return refusal({changed, dir / "out", picture("pipeline")});
    };
    EXPECT_THAT(with(key, at::ones({4, 4, 5, 5})), HasSubstr("conv_in.lora_A.weight")); // the base has 3 by 3
    EXPECT_THAT(with("unet.conv_in.lora_B.weight", at::ones({8, 4, 3, 3})), HasSubstr("[out, r, 1, 1]"));
    EXPECT_THAT(with("unet.conv_in.lora_B.weight", at::ones({8, 2, 1, 1})), HasSubstr("expected [out, r]"));
    EXPECT_THAT(with("unet.conv_in.lora_magnitude_vector", at::ones({1, 7, 1, 1})), HasSubstr("8 values"));
    EXPECT_THAT(with(key, at::full({4, 4, 3, 3}, NAN)), HasSubstr("damaged"));
    EXPECT_THAT(with("vae.conv_in.lora_A.weight", at::ones({4, 4, 3, 3})),
                HasSubstr("vae.conv_in.lora_A.weight"));
    EXPECT_THAT(refusal({picture("pytorch_lora_weights.safetensors"), dir / "out", picture("pipeline/unet")}),
                HasSubstr("pipeline's folder"));
    EXPECT_THAT(refusal({picture("kohya.safetensors"), dir / "out", picture("pipeline/text_encoder")}),
                HasSubstr("no linear module"));
}

// What is cut off or has a bit turned is imported whole or refused with the file's name; nothing else
// happens.
TEST_F(Formats, NoDamagedFileOfAnyToolDoesMoreThanBeRefused) {
    const std::vector<std::string> sources = {
        file("nvlabs/adapter_model.bin"), file("torchtune/adapter_0.pt"),
        file("mlx/adapters.safetensors"), file("kohya.safetensors"),
        file("kohya_in.safetensors"),     file("catid.safetensors"),
        file("vlbart/BEST.pth"),          file("fsdp_qlora/model_state_dict.safetensors"),
        picture("kohya.safetensors"),     picture("metadata/pytorch_lora_weights.safetensors"),
        picture("older.safetensors")};
    make_folder(dir / "damaged");
    size_t refused = 0, taken = 0;
    for (const std::string& source : sources) {
        const std::string config = fs::path(source).parent_path() / "adapter_config.json";
        fs::remove(dir / "damaged/adapter_config.json");
        if (exists(config)) fs::copy_file(config, dir / "damaged/adapter_config.json");
        const bool pictures = source.find("diffusers") != std::string::npos,
                   bart = source.find("vlbart") != std::string::npos;
        const std::string base =
            pictures ? picture(source.find("kohya") == std::string::npos ? "pipeline" : "pipeline/unet")
                     : file(bart ? "bart" : "base");
        const std::string whole = read_file(source),
                          target = dir / ("damaged/adapter" + fs::path(source).extension().string());
        auto attempt = [&](const std::string& bytes, const std::string& what) {
            write_file_atomic(target, bytes);
            try {
                run(import_command, ImportOptions{target, dir / "out", base, "", 4});
                ++taken;
            } catch (const Error& error) { // "damaged" is the file's folder, "out" the one it was turned into
                ++refused;
                EXPECT_THAT(error.what(), ::testing::AnyOf(HasSubstr("/damaged/"), HasSubstr("/out.partial")))
                    << source << " " << what;
            } catch (const std::exception& error) {
                ADD_FAILURE() << source << " " << what << ": " << error.what();
            }
            fs::remove_all(dir / "out");
            fs::remove(target);
        };
        for (size_t i = 0; i < 16; ++i) attempt(whole.substr(0, whole.size() * i / 16), "cut");
        for (size_t i = 0; i < 48; ++i) { // the headers, pickles and names lie at the ends
            const size_t span = std::min<size_t>(whole.size(), 4000);
            std::string turned = whole;
            const size_t at = i % 2 ? whole.size() - 1 - i * span / 48 : i * span / 48;
            turned[at] = char(turned[at] ^ (1 << (i % 8)));
            attempt(turned, "bit turned at " + std::to_string(at));
        }
    }
    EXPECT_GT(refused, sources.size() * 16);
    EXPECT_GT(taken, 0u);
}

} // namespace
} // namespace dorabench
