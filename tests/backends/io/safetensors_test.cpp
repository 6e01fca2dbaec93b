#include "backends/io/safetensors.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <cstring>
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <random>

namespace dorabench {
namespace {

using test::TempDir;

std::string file_bytes(const std::string& header, const std::string& data) {
    std::string out(8, '\0');
    for (int i = 0; i < 8; ++i) out[size_t(i)] = char(header.size() >> (8 * i));
    return out + header + data;
}
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, size_t begin,
                  size_t end) {
    return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
}
void put(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}
std::span<const std::byte> as_bytes(const std::string& text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
std::string message_of(const std::string& path) {
    try {
        SafetensorsFile::open(path);
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        return e.what();
    }
    return "";
}

TEST(SafetensorsFile, AgreesWithTheVerdictsOnHostileFiles) {
    DORABENCH_NEEDS_SHARED();
    std::string folder = test::shared_dir() + "/data/malformed/safetensors/";
    auto verdicts = nlohmann::json::parse(read_file(folder + "verdicts.json"));
    size_t seen = 0;
    for (const auto& [name, verdict] : verdicts["cases"].items()) {
        std::string message = message_of(folder + name + ".safetensors");
        EXPECT_EQ(message.empty(), name.rfind("ok_", 0) == 0) << name << ": " << message;
        if (!message.empty()) EXPECT_THAT(message, testing::HasSubstr(name + ".safetensors"));
        ++seen;
    }
    EXPECT_EQ(seen, 36u);
}

TEST(SafetensorsFile, GivesBackWhatWasWritten) {
    TempDir dir;
    std::string floats(24, 'f'), halves(4, 'h'), flags(3, '\1'), none;
    write_safetensors(dir / "t.safetensors",
                      {{"z.flags", Dtype::boolean, {3}, as_bytes(flags)},
                       {"b", Dtype::f16, {2}, as_bytes(halves)},
                       {"a \"quoted\" é", Dtype::f32, {2, 3}, as_bytes(floats)},
                       {"empty", Dtype::f32, {0, 7}, as_bytes(none)},
                       {"scalar", Dtype::i32, {}, as_bytes(halves)}},
                      {{"format", "pt"}, {"note", "x"}});
    auto file = SafetensorsFile::open(dir / "t.safetensors");
    ASSERT_EQ(file->tensors().size(), 5u);
    EXPECT_EQ(file->metadata().at("note"), "x");
    const TensorEntry& a = file->tensors().at("a \"quoted\" é");
    EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(a.begin, 0u) << "the widest dtype comes first";
    EXPECT_EQ(a.elements(), 6);
    EXPECT_EQ(std::memcmp(file->bytes(a).data(), floats.data(), 24), 0);
    EXPECT_EQ(file->tensors().at("z.flags").begin, 32u);
    EXPECT_EQ(file->bytes(file->tensors().at("empty")).size(), 0u);
    EXPECT_EQ(file->tensors().at("scalar").elements(), 1);
    std::string raw = read_file(dir / "t.safetensors");
    EXPECT_EQ((unsigned char)raw[0] % 8, 0) << "the header is padded to 8 bytes";
    size_t files = 0;
    for ([[maybe_unused]] const auto& f : std::filesystem::directory_iterator(dir.path())) ++files;
    EXPECT_EQ(files, 1u) << "nothing temporary stays behind";
}

TEST(SafetensorsFile, WritesTheOfficialLayout) {
    TempDir dir;
    std::string data(8, '\0');
    write_safetensors(dir / "t", {{"x", Dtype::u8, {4}, as_bytes(data).first(4)},
                                  {"y", Dtype::f32, {1, 2}, as_bytes(data)}});
    std::string header =
        R"({"__metadata__":{"format":"pt"},"y":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
        R"("x":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}})";
    header.append((8 - header.size() % 8) % 8, ' ');
    EXPECT_EQ(read_file(dir / "t"), file_bytes(header, data + data.substr(4)));
}

TEST(SafetensorsFile, RefusesOverlappingOffsets) {
    TempDir dir;
    put(dir / "t",
        file_bytes("{" + entry("a", "F32", "[2]", 0, 8) + "," + entry("b", "F32", "[2]", 4, 12) + "}",
                   std::string(12, 'x')));
    EXPECT_THAT(message_of(dir / "t"), testing::HasSubstr("\"b\": expected its data to begin at byte 8"));
}

TEST(SafetensorsFile, RefusesAShapeWhoseProductWrapsAround) {
    TempDir dir;
    for (const char* shape : {"[4611686018427387904,4]", "[0,1099511627776,1099511627776]",
                              "[18446744073709551615]", "[1e3]", "[-1]", "[2.0]"}) {
        put(dir / "t", file_bytes("{" + entry("a", "F32", shape, 0, 0) + "}", ""));
        EXPECT_THAT(message_of(dir / "t"), testing::HasSubstr("\"a\"")) << shape;
    }
}

TEST(SafetensorsFile, RefusesDuplicatesUnknownFieldsAndDeepNesting) {
    TempDir dir;
    std::string a = entry("a", "F32", "[1]", 0, 4);
    for (const std::string& header :
         {"{" + a + "," + a + "}", "{\"__metadata__\":{\"k\":\"v\",\"k\":\"v\"}," + a + "}",
          std::string("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"),
          std::string("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}"),
          "{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}",
          [] {
              std::string s = "{";
              for (int i = 0; i < 100000; ++i) s += "\"a\":{";
              return s;
          }(),
          "{\"__metadata__\":{},\"__metadata__\":{}," + a + "}", "{" + a + "} x"}) {
        put(dir / "t", file_bytes(header, "1234"));
        EXPECT_NE(message_of(dir / "t"), "") << header.substr(0, 200);
    }
}

TEST(SafetensorsFile, SaysWhatAFileIsThatIsNotOne) {
    TempDir dir;
    EXPECT_THAT(message_of(dir.path()), testing::HasSubstr("not a regular file"));
    EXPECT_THAT(message_of(dir / "absent"), testing::HasSubstr("No such file"));
}

TEST(SafetensorsFile, SurvivesRandomDamage) {
    TempDir dir;
    std::string data(64, '\3');
    write_safetensors(dir / "good", {{"layer.0.weight", Dtype::f32, {2, 4}, as_bytes(data).first(32)},
                                     {"layer.0.bias", Dtype::bf16, {4, 2}, as_bytes(data).first(16)},
                                     {"mask", Dtype::u8, {16}, as_bytes(data).first(16)}});
    const std::string good = read_file(dir / "good");
    std::mt19937 random(1);
    size_t loaded = 0, refused = 0;
    for (int round = 0; round < 3000; ++round) {
        std::string bad = good;
        int damages = 1 + int(random() % 4);
        for (int i = 0; i < damages; ++i) {
            switch (random() % 5) {
            case 0:
                bad[random() % bad.size()] = char(random());
                break;
            case 1:
                bad.resize(1 + random() % bad.size());
                break;
            case 2:
                bad[random() % std::min<size_t>(8, bad.size())] = char(random());
                break;
            case 3:
                bad.insert(random() % bad.size(),
                           std::string(1 + random() % 20, "0192{}[],:\""[random() % 11]));
                break;
            case 4:
                bad.erase(random() % bad.size(), 1 + random() % 3);
                break;
            }
            if (bad.empty()) bad = "x";
        }
        put(dir / "bad", bad);
        try {
            auto file = SafetensorsFile::open(dir / "bad");
            size_t sum = 0;
            for (const auto& [name, tensor] : file->tensors())
                for (std::byte b : file->bytes(tensor)) sum += size_t(b);
            EXPECT_LT(sum, 1u << 20);
            ++loaded;
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::data) << e.what();
            ++refused;
        }
    }
    EXPECT_GT(loaded, 10u);
    EXPECT_GT(refused, 1000u);
}

TEST(SafetensorsWriter, NamesThePathWhenTheFolderIsMissing) {
    try {
        write_safetensors("/nonexistent-folder/x.safetensors", {});
        FAIL();
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::resources);
        EXPECT_THAT(e.what(), testing::HasSubstr("/nonexistent-folder/x.safetensors"));
    }
}

TEST(SafetensorsWriter, RefusesATensorTwice) {
    TempDir dir;
    std::string one(1, '\0');
    TensorBytes t{"a", Dtype::u8, {1}, as_bytes(one)};
    EXPECT_THROW(write_safetensors(dir / "t", {t, t}), Error);
    EXPECT_FALSE(exists(dir / "t"));
}

} // namespace
} // namespace dorabench
