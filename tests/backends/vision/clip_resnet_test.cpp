// CLIP's encoders by open_clip's names against open_clip's own outputs (tests/golden/vision/make_clip.py).
#include "backends/ops/tensor_io.h"
#include "backends/vision/clip.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <gmock/gmock.h>

namespace dorabench {
namespace {

std::map<std::string, at::Tensor> expected() {
    std::map<std::string, at::Tensor> out;
    for (const NamedTensor& one : read_tensors(test::golden("vision/clip_expected.safetensors")))
        out[one.name] = one.tensor.to(at::kFloat);
    return out;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
    EXPECT_EQ(a.sizes(), b.sizes());
    return (a - b).abs().max().item<double>() / b.abs().max().item<double>();
}

TEST(ClipResnet, GridAndEmbeddingAreOpenClips) {
    const auto golden = expected();
    const auto clip = load_clip_vision(test::golden("vision/clip_resnet.safetensors"), at::kFloat);
    EXPECT_EQ(clip->image_size(), 64);
    EXPECT_EQ(clip->feature_size(), 128);
    EXPECT_LT(largest_difference(clip->features(golden.at("pixels"), -1), golden.at("resnet_grid")), 1e-5);
    EXPECT_LT(largest_difference(clip->embedding(golden.at("pixels")), golden.at("resnet_embedding")), 1e-5);
}

TEST(ClipResnet, APictureDoesNotHangOnItsBatch) {
    const auto golden = expected();
    const auto clip = load_clip_vision(test::golden("vision/clip_resnet.safetensors"), at::kFloat);
    const at::Tensor both = clip->features(golden.at("pixels"), -1),
                     second = clip->features(golden.at("pixels").narrow(0, 1, 1), -1);
    EXPECT_LT(largest_difference(second, both.narrow(0, 1, 1)), 1e-6);
}

TEST(ClipTransformer, ByOpenClipsNamesGivesOpenClipsNumbers) {
    const auto golden = expected();
    const auto clip = load_clip_vision(test::golden("vision/clip_vit.safetensors"), at::kFloat);
    EXPECT_EQ(clip->image_size(), 64);
    EXPECT_LT(largest_difference(clip->features(golden.at("pixels"), -1), golden.at("vit_tokens")), 1e-5);
    EXPECT_LT(largest_difference(clip->embedding(golden.at("pixels")), golden.at("vit_embedding")), 1e-5);
}

TEST(ClipResnet, NamesWhatAFileLacks) {
    std::vector<NamedTensor> tensors;
    for (const NamedTensor& one : read_tensors(test::golden("vision/clip_resnet.safetensors")))
        if (one.name != "visual.layer2.0.bn2.running_var") tensors.push_back(one);
    test::TempDir folder;
    write_tensors(folder / "broken.safetensors", tensors);
    try {
        load_clip_vision(folder / "broken.safetensors", at::kFloat);
        FAIL() << "a missing tensor was not noticed";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        EXPECT_THAT(error.what(), testing::HasSubstr("visual.layer2.0.bn2.running_var"));
    }
}

} // namespace
} // namespace dorabench
