#include "backends/nn/weights.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <cinttypes>
#include <cstdio>

namespace dorabench {
namespace {

using test::TempDir;

// Whether the address lies in a mapping of the file (proc(5): "from-to perms offset dev inode path").
bool lies_in(const void* address, const std::string& file) {
    std::istringstream maps(read_file("/proc/self/maps"));
    for (std::string line; std::getline(maps, line);) {
        uintptr_t from = 0, to = 0;
        if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR, &from, &to) != 2) continue;
        const auto at = reinterpret_cast<uintptr_t>(address);
        if (at >= from && at < to) return line.find(file) != std::string::npos;
    }
    return false;
}

struct File {
    TempDir folder;
    std::string path = folder / "model.safetensors";
    at::Tensor values = at::arange(6000, at::kFloat).view({60, 100});
    std::vector<ParameterShape> parameters;
    File() {
        write_tensors(path, {{"a.weight", values}});
        parameters.push_back({.name = "a.weight", .shape = {60, 100}});
    }
    at::Tensor load(at::ScalarType dtype = at::kFloat) const {
        WeightOptions options;
        options.dtype = dtype;
        return load_weights(folder.path(), parameters, options).at("a.weight");
    }
};

TEST(Weights, StayInTheMappedFileWhichProcessesShare) {
    const File file;
    const at::Tensor mapped = file.load();
    EXPECT_TRUE(lies_in(mapped.const_data_ptr(), file.path));
    EXPECT_TRUE(at::equal(mapped, file.values));
}

TEST(Weights, OfAnotherDtypeAreConvertedCopies) {
    const File file;
    const at::Tensor converted = file.load(at::kBFloat16);
    EXPECT_EQ(converted.scalar_type(), at::kBFloat16);
    EXPECT_FALSE(lies_in(converted.const_data_ptr(), file.path));
    EXPECT_TRUE(at::equal(converted, file.values.to(at::kBFloat16)));
}

TEST(Weights, TrainingOfMappedOnesChangesNeitherTheFileNorOthers) {
    const File file;
    at::Tensor trained = file.load();
    const at::Tensor other = file.load();
    trained.add_(1);
    EXPECT_TRUE(at::equal(trained, file.values + 1));
    EXPECT_TRUE(at::equal(other, file.values));
    EXPECT_TRUE(at::equal(file.load(), file.values));
}

} // namespace
} // namespace dorabench
