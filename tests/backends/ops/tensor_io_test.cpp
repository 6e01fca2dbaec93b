#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "tests/support/paths.h"
#include <ATen/ops/equal.h>
#include <fstream>

namespace dorabench {
namespace {

TEST(TensorIo, ReadsBackEveryDtypeThatItWrites) {
    test::TempDir dir;
    std::vector<NamedTensor> tensors;
    at::Tensor base = at::arange(12).reshape({3, 4});
    for (auto type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort,
                      at::kChar, at::kByte, at::kBool})
        tensors.push_back({c10::toString(type), base.to(type).t()}); // not contiguous
    tensors.push_back({"empty", at::empty({0, 5})});
    tensors.push_back({"scalar", at::scalar_tensor(2.5)});
    write_tensors(dir / "t.safetensors", tensors);
    auto back = read_tensors(dir / "t.safetensors");
    ASSERT_EQ(back.size(), tensors.size());
    for (const auto& t : tensors) {
        bool found = false;
        for (const auto& b : back)
            if (b.name == t.name) {
                found = true;
                EXPECT_EQ(b.tensor.scalar_type(), t.tensor.scalar_type());
                EXPECT_EQ(b.tensor.sizes(), t.tensor.sizes());
                EXPECT_TRUE(at::equal(b.tensor, t.tensor)) << t.name;
            }
        EXPECT_TRUE(found) << t.name;
    }
}

TEST(TensorIo, KeepsTheMappingAliveAndTheFileUntouched) {
    test::TempDir dir;
    write_tensors(dir / "t", {{"a", at::ones({8})}});
    at::Tensor a;
    {
        auto file = SafetensorsFile::open(dir / "t");
        a = map_tensor(file, file->tensors().at("a"));
    }
    EXPECT_EQ(a.sum().item<float>(), 8);
    a.fill_(3);
    EXPECT_EQ(read_tensors(dir / "t")[0].tensor.sum().item<float>(), 8);
}

TEST(TensorIo, CopiesDataThatTheFileDoesNotAlign) {
    test::TempDir dir;
    std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"; // 54 bytes: 8 + 54 is
                                                                                      // not a multiple of 4
    float values[2] = {1.5f, -2};
    std::ofstream out(dir / "t", std::ios::binary);
    out << char(header.size()) << std::string(7, '\0') << header;
    out.write(reinterpret_cast<const char*>(values), 8);
    out.close();
    ASSERT_NE((8 + header.size()) % 4, 0u);
    at::Tensor a = read_tensors(dir / "t")[0].tensor;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data_ptr()) % 4, 0u);
    EXPECT_EQ(a[0].item<float>(), 1.5f);
    EXPECT_EQ(a[1].item<float>(), -2.f);
}

TEST(TensorIo, NamesTheDtypesThatAConfigurationMayAskFor) {
    EXPECT_EQ(parse_dtype("bfloat16"), at::kBFloat16);
    EXPECT_THROW(parse_dtype("fp16"), Error);
    EXPECT_THROW(dtype_of(at::kComplexFloat), Error);
}

} // namespace
} // namespace dorabench
