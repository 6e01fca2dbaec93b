// PyTorch's zip checkpoints, and pickles that must be refused by name; made by
// tests/golden/pickle/make_pickles.py.
#include "backends/io/torch_pickle.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <cstring>
#include <gmock/gmock.h>
#include <map>

namespace dorabench {
namespace {

using ::testing::HasSubstr;

std::string fixture(const std::string& name) { return test::golden("pickle/" + name); }

std::map<std::string, PickledTensor> read(const std::string& name) {
    std::map<std::string, PickledTensor> all;
    for (PickledTensor& t : read_torch_file(fixture(name))) all[t.name] = t;
    return all;
}

std::string refusal(const std::string& path) {
    try {
        read_torch_file(path);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        EXPECT_THAT(error.what(), HasSubstr(path));
        return error.what();
    }
    return "accepted";
}

float value(const PickledTensor& t, size_t index) {
    float v;
    std::memcpy(&v, t.bytes.data() + 4 * index, 4);
    return v;
}

TEST(TorchPickle, ReadsAStateWithParametersAndTransposedViews) {
    const auto all = read("nvlabs.bin");
    ASSERT_EQ(all.size(), 3u);
    const std::string path = "base_model.model.model.layers.0.self_attn.q_proj.";
    const PickledTensor &a = all.at(path + "lora_A.weight"), &b = all.at(path + "lora_B.weight"),
                        &m = all.at(path + "weight_m_wdecomp.weight");
    EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 8}));
    EXPECT_EQ(value(a, 15), 15 / 8.0f);
    EXPECT_EQ(b.shape, (std::vector<int64_t>{6, 2}));
    EXPECT_EQ(value(b, 1), 9 / 8.0f); // row 0, column 1 of the transposed [2, 6]
    EXPECT_EQ(value(b, 2), 4 / 8.0f);
    EXPECT_EQ(m.shape, (std::vector<int64_t>{6, 1}));
    EXPECT_EQ(value(m, 5), 14 / 8.0f);
}

TEST(TorchPickle, JoinsNestedDictionariesAndSkipsWhatIsNoTensor) {
    const auto all = read("nested.pt");
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all.at("model.half").dtype, Dtype::f16);
    EXPECT_EQ(all.at("model.brain").dtype, Dtype::bf16);
    EXPECT_EQ(all.at("model.count").dtype, Dtype::i64);
    EXPECT_TRUE(all.at("model.count").shape.empty());
    EXPECT_EQ(all.at("model.count").bytes[0], 7);
}

TEST(TorchPickle, RefusesCodeByItsName) {
    EXPECT_THAT(refusal(fixture("hostile_system.bin")), HasSubstr("system\""));
    EXPECT_THAT(refusal(fixture("hostile_eval.bin")), HasSubstr("eval\""));
}

TEST(TorchPickle, RefusesWhatIsDeepCutOffOrContainsItself) {
    EXPECT_THAT(refusal(fixture("deep.bin")), HasSubstr("nested deeper"));
    EXPECT_THAT(refusal(fixture("self.bin")), HasSubstr("contains itself"));
    EXPECT_THAT(refusal(fixture("cut.bin")), HasSubstr("cut off"));
}

TEST(TorchPickle, RefusesATensorThatReachesPastItsStorage) {
    EXPECT_THAT(refusal(fixture("past_the_end.bin")), HasSubstr("past its storage of 4 elements"));
}

TEST(TorchPickle, NamesTheConversionOfTheOlderFormat) {
    EXPECT_THAT(refusal(fixture("legacy.bin")), HasSubstr("weights_only=True"));
}

TEST(TorchPickle, SurvivesEveryTruncationAndEveryFlippedByte) {
    const std::string whole = read_file(fixture("nvlabs.bin")),
                      path = ::testing::TempDir() + "torch_pickle_damage.bin";
    for (size_t size = 0; size < whole.size(); size += 13) {
        write_file_atomic(path, whole.substr(0, size));
        EXPECT_NE(refusal(path), "accepted") << size;
    }
    for (size_t at = 0; at < whole.size(); at += 11) {
        std::string damaged = whole;
        damaged[at] = char(damaged[at] ^ 0x55);
        write_file_atomic(path, damaged);
        try {
            read_torch_file(path);
        } catch (const Error&) {
        }
    }
}

} // namespace
} // namespace dorabench
