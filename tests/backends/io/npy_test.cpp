#include "backends/io/npy.h"
#include "harness/base/error.h"
#include "tests/support/paths.h"
#include <cstring>
#include <fstream>
#include <gmock/gmock.h>
#include <random>
#include <zlib.h>

namespace dorabench {
namespace {

using test::TempDir;
using testing::HasSubstr;

void put(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}
std::string number(uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += char(value >> (8 * i));
    return out;
}
std::string npy(const std::string& descr, const std::string& fortran, const std::string& shape,
                const std::string& data, int version = 1) {
    std::string header =
        "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
    header.append(63 - (10 + header.size()) % 64, ' ') += '\n';
    return "\x93NUMPY" + std::string(1, char(version)) + '\0' + number(header.size(), version == 1 ? 2 : 4) +
           header + data;
}
std::string floats(std::initializer_list<float> values) {
    return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(float)};
}
std::string deflated(const std::string& data) {
    std::string out(data.size() + 1000, '\0');
    z_stream s{};
    deflateInit2(&s, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    s.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
    s.avail_in = uInt(data.size());
    s.next_out = reinterpret_cast<Bytef*>(out.data());
    s.avail_out = uInt(out.size());
    deflate(&s, Z_FINISH);
    out.resize(s.total_out);
    deflateEnd(&s);
    return out;
}
std::string zip(const std::vector<std::pair<std::string, std::string>>& files, bool pack) {
    std::string out, directory;
    for (const auto& [name, data] : files) {
        std::string body = pack ? deflated(data) : data;
        std::string common =
            number(20, 2) + number(0, 2) + number(pack ? 8 : 0, 2) + number(0, 4) +
            number(crc32(0, reinterpret_cast<const Bytef*>(data.data()), uInt(data.size())), 4) +
            number(body.size(), 4) + number(data.size(), 4) + number(name.size(), 2) + number(0, 2);
        directory += "PK\1\2" + number(20, 2) + common + number(0, 2) + number(0, 2) + number(0, 2) +
                     number(0, 4) + number(out.size(), 4) + name;
        out += "PK\3\4" + common + name + body;
    }
    return out + directory + "PK\5\6" + number(0, 4) + number(files.size(), 2) + number(files.size(), 2) +
           number(directory.size(), 4) + number(out.size(), 4) + number(0, 2);
}
std::string message_of(const std::string& content) {
    try {
        parse_npy(content, "f.npy");
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        return e.what();
    }
    return "";
}

TEST(Npy, ReadsEveryVersionAndBothOrders) {
    std::string rows = floats({1, 2, 3, 4, 5, 6}), columns = floats({1, 4, 2, 5, 3, 6});
    for (int version = 1; version <= 3; ++version) {
        NpyArray a = parse_npy(npy("<f4", "False", "(2, 3)", rows, version), "a");
        EXPECT_EQ(a.dtype, Dtype::f32);
        EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 3}));
        EXPECT_EQ(a.bytes, rows);
        EXPECT_EQ(parse_npy(npy("<f4", "True", "(2, 3)", columns, version), "a").bytes, rows);
    }
    EXPECT_EQ(parse_npy(npy(">i2", "False", "(2,)", std::string("\0\1\2\0", 4)), "a").bytes,
              std::string("\1\0\0\2", 4));
    EXPECT_TRUE(parse_npy(npy("<i8", "False", "()", std::string(8, '\1')), "a").shape.empty());
    EXPECT_TRUE(parse_npy(npy("|b1", "False", "(0, 5)", ""), "a").bytes.empty());
}

TEST(Npy, RefusesPicklesAndWhatDoesNotFit) {
    EXPECT_THAT(message_of(npy("|O", "False", "(2,)", "xxxx")), HasSubstr("dtype \"|O\""));
    EXPECT_THAT(message_of(npy("<f4", "False", "(2,)", "xxxx")), HasSubstr("expected 8 bytes of data"));
    EXPECT_THAT(message_of(npy("<f4", "False", "(4611686018427387904, 4)", "")), HasSubstr("f.npy"));
    EXPECT_THAT(message_of(npy("<f4", "Maybe", "(1,)", "xxxx")), HasSubstr("True or False"));
    EXPECT_THAT(message_of(npy("<f4", "False", "(-1,)", "")), HasSubstr("whole numbers"));
    EXPECT_THAT(message_of(npy("<f4", "False", "(1,)", "xxxx", 4)), HasSubstr("version"));
    EXPECT_THAT(message_of("x"), HasSubstr("expected a .npy file"));
}

TEST(Npz, ReadsStoredAndPackedArchives) {
    TempDir dir;
    for (bool pack : {false, true}) {
        put(dir / "a.npz", zip({{"feats.npy", npy("<f4", "False", "(2, 2)", floats({1, 2, 3, 4}))},
                                {"n.npy", npy("<i8", "False", "()", std::string(8, '\0'))}},
                               pack));
        auto arrays = read_npz(dir / "a.npz");
        ASSERT_EQ(arrays.size(), 2u);
        EXPECT_EQ(arrays.at("feats").bytes, floats({1, 2, 3, 4}));
        EXPECT_EQ(arrays.at("n").dtype, Dtype::i64);
    }
}

TEST(Npz, SurvivesRandomDamage) {
    TempDir dir;
    std::mt19937 random(9);
    int loaded = 0;
    for (int i = 0; i < 600; ++i) {
        std::string bytes = zip({{"a.npy", npy("<f4", "False", "(2, 2)", floats({1, 2, 3, 4}))},
                                 {"b.npy", npy("<f8", "True", "(3, 2)", std::string(48, 'b'))}},
                                i % 2);
        for (size_t n = 1 + random() % 3; n-- > 0;) {
            size_t at = random() % bytes.size();
            if (random() % 8 == 0)
                bytes.resize(at + 1);
            else
                bytes[at] = char(random() % 3 ? random() : 0xFF);
        }
        put(dir / "bad.npz", bytes);
        try {
            read_npz(dir / "bad.npz");
            ++loaded;
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::data) << e.what();
        }
    }
    EXPECT_LT(loaded, 550);
    EXPECT_GT(loaded, 0);
}

} // namespace
} // namespace dorabench
