// The CLIP image encoder against the reference implementation, from three kinds of folders.
#include "backends/ops/tensor_io.h"
#include "backends/vision/clip.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <map>

namespace dorabench {
namespace {

double worst(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

class ClipGolden : public testing::Test {
protected:
    void SetUp() override {
        DORABENCH_NEEDS_SHARED();
        folder = test::shared_dir() + "/golden/llava/llava";
        for (NamedTensor& t : read_tensors(folder + "/expected.safetensors"))
            expected[t.name] = t.tensor.clone();
    }
    void expect_states(const ClipVision& tower) {
        const at::Tensor pixels = expected["pixel_values"];
        EXPECT_EQ(tower.image_size(), 56);
        EXPECT_EQ(tower.feature_size(), 32);
        for (int64_t layer = 0; layer <= 3; ++layer) {
            const at::Tensor want = expected["clip.hidden_states." + std::to_string(layer)];
            EXPECT_LT(worst(tower.states(pixels, layer), want), 1e-4) << layer;
            EXPECT_LT(worst(tower.states(pixels, layer - 4), want), 1e-4) << layer - 4;
            EXPECT_LT(worst(tower.features(pixels, layer), want.narrow(1, 1, 16)), 1e-4) << layer;
        }
        EXPECT_LT(worst(tower.features(pixels, -2), expected["clip.selected"]), 1e-4);
        EXPECT_THROW(tower.features(pixels, 4), Error);
        EXPECT_THROW(tower.features(pixels, -5), Error);
    }
    std::string folder;
    std::map<std::string, at::Tensor> expected;
};

TEST_F(ClipGolden, HiddenStatesOfAFolderOfItsOwn) {
    expect_states(*load_clip_vision(folder + "/vision_tower", at::kFloat));
}

TEST_F(ClipGolden, HiddenStatesOfATowerInsideALargerModel) {
    for (const char* name : {"/checkpoint_hf", "/checkpoint_hf_v5"}) { // with and without "vision_model."
        const std::string config = folder + name + "/config.json";
        expect_states(*make_clip_vision(Checkpoint::open(folder + name), "vision_tower.",
                                        parse_clip_vision_config(read_file(config), config), at::kFloat));
    }
}

TEST_F(ClipGolden, TensorsAtHandHaveTheNamesAndShapesThatAreStated) {
    const std::string config = folder + "/vision_tower/config.json";
    const ClipVisionConfig shape = parse_clip_vision_config(read_file(config), config);
    std::map<std::string, at::Tensor> tensors;
    for (NamedTensor& t : read_tensors(folder + "/vision_tower/model.safetensors"))
        tensors[t.name] = t.tensor;
    size_t named = 0;
    for (const auto& [name, sizes] : clip_vision_shapes(shape)) {
        ASSERT_TRUE(tensors.count("vision_model." + name)) << name;
        EXPECT_EQ(tensors["vision_model." + name].sizes(), at::IntArrayRef(sizes)) << name;
        ++named;
    }
    EXPECT_EQ(named, 3u + 2 + 3 * 16 + 2);
    auto tower = make_clip_vision(tensors, "vision_model.", shape);
    expect_states(*tower);
    EXPECT_EQ(tower->parameters().size(), named);
    tensors.erase("vision_model.encoder.layers.1.mlp.fc1.bias");
    EXPECT_THROW(make_clip_vision(tensors, "vision_model.", shape), Error);
}

TEST(ClipVisionConfig, LargeEncoderCountsExactly) {
    const ClipVisionConfig large = parse_clip_vision_config(
        R"({"model_type":"clip","vision_config":{"hidden_size":1024,"image_size":336,"intermediate_size":4096,
            "num_attention_heads":16,"num_hidden_layers":24,"patch_size":14,"projection_dim":768}})",
        "config.json");
    int64_t total = 0;
    for (const auto& [name, shape] : clip_vision_shapes(large)) {
        int64_t n = 1;
        for (int64_t size : shape) n *= size;
        total += n;
    }
    EXPECT_EQ(total, 303507456);
    EXPECT_EQ(large.tokens(), 576);
    EXPECT_TRUE(large.quick_gelu);
}

TEST(ClipVisionConfig, WhatItCannotComputeIsRefusedByName) {
    auto refusal = [](const std::string& text) -> std::string {
        try {
            parse_clip_vision_config(text, "tower/config.json");
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::data);
            return e.what();
        }
        return "accepted";
    };
    for (const auto& [text, word] : std::map<std::string, std::string>{
             {"[1]", "tower/config.json"},
             {"{\"hidden_act\": \"relu\"}", "hidden_act"},
             {"{\"model_type\": \"siglip_vision_model\"}", "siglip_vision_model"},
             {"{\"hidden_size\": 30, \"num_attention_heads\": 4}", "num_attention_heads"},
             {"{\"patch_size\": 0}", "patch_size"},
             {"{\"image_size\": \"large\"}", "image_size"}})
        EXPECT_NE(refusal(text).find(word), std::string::npos) << text << ": " << refusal(text);
}

} // namespace
} // namespace dorabench
