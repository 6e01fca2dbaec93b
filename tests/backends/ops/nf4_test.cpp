// NF4 against the golden values of bitsandbytes, and its products against the dequantised weight's.
#include "backends/ops/adapted_linear.h"
#include "backends/ops/linear_site.h"
#include "backends/ops/nf4_file.h"
#include "backends/ops/nf4_product.h"
#include "harness/base/error.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include <filesystem>
#include <limits>
#include <map>

namespace dorabench {
namespace {

using test::close;
using test::generator;
using test::randn;
using test::same_bits;

std::map<std::string, at::Tensor> golden(const std::string& file) {
    std::map<std::string, at::Tensor> all;
    for (NamedTensor& t : read_tensors(test::shared_dir() + "/golden/nf4/nf4/" + file))
        all[t.name] = t.tensor;
    return all;
}

TEST(Nf4, QuantisesAsTheGoldenValuesToTheBit) {
    DORABENCH_NEEDS_SHARED();
    const auto all = golden("matrices.safetensors");
    for (int i = 0; i < 6; ++i) {
        const std::string at = "m" + std::to_string(i) + ".";
        const auto single = nf4_quantise(all.at(at + "W"), false),
                   twice = nf4_quantise(all.at(at + "W"), true);
        EXPECT_TRUE(same_bits(single->codes, all.at(at + "single.packed").view(-1))) << at;
        EXPECT_TRUE(same_bits(single->absmax, all.at(at + "single.absmax").view(-1))) << at;
        EXPECT_TRUE(same_bits(nf4_dequantise(*single, at::kFloat), all.at(at + "single.dequantized"))) << at;
        EXPECT_TRUE(same_bits(twice->codes, all.at(at + "double.packed").view(-1))) << at;
        EXPECT_TRUE(same_bits(twice->absmax, all.at(at + "double.absmax").view(-1))) << at;
        EXPECT_TRUE(same_bits(twice->nested_absmax, all.at(at + "double.state2.absmax").view(-1))) << at;
        EXPECT_TRUE(same_bits(twice->nested_map, all.at(at + "double.state2.code").view(-1))) << at;
        EXPECT_EQ(float(twice->offset), all.at(at + "double.offset").item<float>()) << at;
        EXPECT_TRUE(same_bits(nf4_dequantise(*twice, at::kFloat), all.at(at + "double.dequantized"))) << at;
    }
}

TEST(Nf4, DequantisesOddShapesAndTypesAsTheReference) {
    auto from = generator(3);
    for (const auto& [out, in] :
         std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 5}, {7, 64}, {9, 130}, {300, 70}}) {
        const at::Tensor w = randn({out, in}, from, at::kFloat);
        for (bool twice : {false, true}) {
            const auto packed = nf4_quantise(w, twice);
            const at::Tensor want = ref::nf4_dequantise(*packed);
            EXPECT_TRUE(same_bits(nf4_dequantise(*packed, at::kFloat), want));
            EXPECT_TRUE(same_bits(nf4_dequantise(*packed, at::kBFloat16), want.to(at::kBFloat16)));
            EXPECT_TRUE(same_bits(packed->dense(), want));
        }
    }
}

TEST(Nf4, SharesOneBufferAmongWeights) {
    auto from = generator(4);
    const auto buffer = std::make_shared<Nf4Buffer>();
    const auto a = nf4_quantise(randn({8, 64}, from, at::kFloat), true, buffer),
               b = nf4_quantise(randn({4, 64}, from, at::kFloat), true, buffer);
    const void* place = a->dense().const_data_ptr();
    EXPECT_EQ(b->dense().const_data_ptr(), place);
    EXPECT_TRUE(same_bits(b->dense(), ref::nf4_dequantise(*b)));
    EXPECT_TRUE(same_bits(a->dense(), ref::nf4_dequantise(*a)));
}

TEST(Nf4, RefusesWeightsThatAreNotFinite) {
    at::Tensor w = at::ones({2, 64});
    w.mutable_data_ptr<float>()[70] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_THROW(nf4_quantise(w, true), Error);
}

TEST(Nf4, DequantisesToTheReferencesBitsInEveryTypeAndBlock) {
    auto from = generator(9);
    for (const auto& [out, in] : {std::pair{1, 1}, {3, 33}, {5, 64}, {7, 200}, {300, 513}}) {
        for (const bool twice : {false, true}) {
            auto packed = nf4_quantise(randn({out, in}, from, at::kFloat), twice);
            const at::Tensor want = ref::nf4_dequantise(*packed);
            for (auto type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble})
                EXPECT_TRUE(same_bits(nf4_dequantise(*packed, type), want.to(type))) << out << " " << in;
        }
    }
    for (const int64_t block : {8, 16, 32, 128}) { // as a file may have them
        auto packed = nf4_quantise(randn({6, 256}, from, at::kFloat), false);
        packed->block = block;
        packed->absmax = randn({6 * 256 / block}, from, at::kFloat).abs();
        nf4_check(*packed, "test");
        const at::Tensor want = ref::nf4_dequantise(*packed);
        for (auto type : {at::kFloat, at::kBFloat16})
            EXPECT_TRUE(same_bits(nf4_dequantise(*packed, type), want.to(type))) << block;
    }
    const auto large = nf4_quantise(randn({2100, 2048}, from, at::kFloat), true); // written past the caches
    EXPECT_TRUE(same_bits(nf4_dequantise(*large, at::kFloat), ref::nf4_dequantise(*large)));
}

TEST(Nf4, FewRowsAreMultipliedStraightFromTheCodes) {
    auto from = generator(10);
    for (auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
        const auto packed = nf4_quantise(randn({130, 192}, from, at::kFloat).to(type), true);
        for (const int64_t rows : {1, 3, 4}) {
            if (rows > 1 && type != at::kFloat) continue; // one 16-bit product is faster
            const at::Tensor x = randn({rows, 192}, from, at::kFloat).to(type), y = nf4_product(*packed, x);
            ASSERT_TRUE(y.defined());
            EXPECT_EQ(y.scalar_type(), type);
            EXPECT_TRUE(close(y, ref::nf4_product(*packed, x), type == at::kFloat ? 1e-6 : 8e-3));
        }
        EXPECT_FALSE(nf4_product(*packed, randn({64, 192}, from, at::kFloat).to(type)).defined());
    }
    const auto across = nf4_quantise(randn({4, 96}, from, at::kFloat), true); // blocks cross the rows
    EXPECT_FALSE(nf4_product(*across, randn({1, 96}, from, at::kFloat)).defined());
}

struct Pass {
    at::Tensor y, dx, dA, dB, dm;
};

AdaptedSite site_of(const std::map<std::string, at::Tensor>& leaf, const at::Tensor& dense) {
    AdaptedSite site;
    site.lora_A = leaf.at("A").clone().set_requires_grad(true);
    site.lora_B = leaf.at("B").clone().set_requires_grad(true);
    site.down = site.lora_A.detach(), site.up = site.lora_B.detach();
    site.scaling = 2;
    site.norm = (dense + 2 * at::mm(site.up, site.down)).pow(2).sum(1).sqrt();
    site.magnitude = leaf.at("m").clone().set_requires_grad(true);
    site.gain = site.magnitude.detach() / site.norm;
    return site;
}

Pass run(AdaptedSite site, const at::Tensor& input, const at::Tensor& dy) {
    const at::Tensor x = input.detach().clone().set_requires_grad(true);
    const AdaptedSite* one = &site;
    const at::Tensor y = adapted_linear({&one, 1}, x)[0];
    (y * dy).sum().backward();
    return {y.detach(), x.grad(), site.lora_A.grad(), site.lora_B.grad(), site.magnitude.grad()};
}

TEST(Nf4, AdaptedProductAndGradientsEqualTheDenseOnesToTheBit) {
    auto from = generator(5);
    const auto packed = nf4_quantise(randn({48, 80}, from, at::kFloat), true);
    const at::Tensor dense = nf4_dequantise(*packed, at::kFloat);
    std::map<std::string, at::Tensor> leaf = {{"A", randn({4, 80}, from, at::kFloat)},
                                              {"B", randn({48, 4}, from, at::kFloat)}};
    leaf["m"] = randn({48}, from, at::kFloat).abs() + 0.5;
    const at::Tensor x = randn({6, 80}, from, at::kFloat), dy = randn({6, 48}, from, at::kFloat);
    AdaptedSite plain = site_of(leaf, dense), four = site_of(leaf, dense);
    plain.weight = dense;
    four.packed = packed;
    const Pass want = run(plain, x, dy), got = run(four, x, dy);
    EXPECT_TRUE(same_bits(got.y, want.y));
    EXPECT_TRUE(same_bits(got.dx, want.dx));
    EXPECT_TRUE(same_bits(got.dA, want.dA));
    EXPECT_TRUE(same_bits(got.dB, want.dB));
    EXPECT_TRUE(same_bits(got.dm, want.dm));
}

TEST(Nf4, SiteWithoutAdapterPassesTheGradientOfX) {
    auto from = generator(6);
    const auto buffer = std::make_shared<Nf4Buffer>();
    const auto packed = nf4_quantise(randn({24, 64}, from, at::kFloat), true, buffer),
               other = nf4_quantise(randn({24, 64}, from, at::kFloat), true, buffer);
    const LinearSite site("a", FrozenLinear(packed, at::ones({24})));
    const at::Tensor x = randn({3, 64}, from, at::kFloat).set_requires_grad(true),
                     dy = randn({3, 24}, from, at::kFloat);
    const at::Tensor y = site.forward(x);
    other->dense(); // the buffer holds another weight by the time of the backward pass
    (y * dy).sum().backward();
    const at::Tensor dense = ref::nf4_dequantise(*packed);
    EXPECT_TRUE(close(y.detach(), at::mm(x.detach(), dense.t()) + 1, 1e-6));
    EXPECT_TRUE(close(x.grad(), at::mm(dy, dense), 1e-6));
}

TEST(Nf4File, GivesThePublishedLayerItsOutputsAndGradients) {
    DORABENCH_NEEDS_SHARED();
    const std::string file = test::shared_dir() + "/golden/nf4/nf4/quantized_layer.safetensors";
    const Checkpoint checkpoint = Checkpoint::open(file);
    const std::string name = "model.layers.0.mlp.up_proj.weight";
    ASSERT_TRUE(holds_nf4(checkpoint, name));
    const auto packed = read_nf4(checkpoint, name);
    EXPECT_EQ(packed->out, 96);
    EXPECT_EQ(packed->in, 64);
    const auto want = golden("layer_expected.safetensors");
    const Checkpoint::Place* bias = checkpoint.find("model.layers.0.mlp.up_proj.bias");
    const LinearSite site("up", FrozenLinear(packed, map_tensor(bias->file, bias->entry)));
    EXPECT_TRUE(close(site.forward(want.at("x")), want.at("y_base"), 1e-4));
}

TEST(Nf4File, WritesThePublishedLayerBackByteForByte) {
    DORABENCH_NEEDS_SHARED();
    const std::string name = "model.layers.0.mlp.up_proj.weight";
    const auto stored = golden("quantized_layer.safetensors");
    const auto packed =
        read_nf4(Checkpoint::open(test::shared_dir() + "/golden/nf4/nf4/quantized_layer.safetensors"), name);
    const std::vector<NamedTensor> written = nf4_tensors(name, *packed);
    EXPECT_EQ(written.size() + 1, stored.size()); // the bias beside
    for (const NamedTensor& t : written) EXPECT_TRUE(same_bits(t.tensor, stored.at(t.name))) << t.name;
}

TEST(Nf4File, WritesWhatItReadsAndRefusesDamage) {
    auto from = generator(7);
    const auto packed = nf4_quantise(randn({20, 64}, from, at::kFloat), true);
    const std::string file = ::testing::TempDir() + "nf4_file.safetensors";
    std::vector<NamedTensor> tensors = nf4_tensors("a.weight", *packed);
    write_tensors(file, tensors);
    const auto back = read_nf4(Checkpoint::open(file), "a.weight");
    EXPECT_TRUE(same_bits(ref::nf4_dequantise(*back), ref::nf4_dequantise(*packed)));
    for (size_t i = 1; i < tensors.size();
         ++i) { // each companion but the state, by which the weight is known, is needed
        if (tensors[i].name.find("quant_state") != std::string::npos ||
            tensors[i].name.find(".nested_absmax") != std::string::npos)
            continue;
        std::vector<NamedTensor> part = tensors;
        part.erase(part.begin() + int64_t(i));
        write_tensors(file, part);
        EXPECT_THROW(read_nf4(Checkpoint::open(file), "a.weight"), Error) << tensors[i].name;
    }
    tensors[0].tensor = tensors[0].tensor.narrow(0, 0, 100);
    write_tensors(file, tensors);
    EXPECT_THROW(read_nf4(Checkpoint::open(file), "a.weight"), Error);
    std::filesystem::remove(file);
}

} // namespace
} // namespace dorabench
