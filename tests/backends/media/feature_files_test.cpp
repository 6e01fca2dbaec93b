// Feature files: the store's own, NumPy archives and HDF5 grids; rows fitted; float16.
#include "backends/io/safetensors.h"
#include "backends/media/feature_files.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using testing::HasSubstr;

FeatureTable counting(int64_t rows, int64_t width) {
    FeatureTable out{rows, width, {}};
    for (int64_t i = 0; i < rows * width; ++i) out.values.push_back(static_cast<float>(i) / 8 - 3);
    return out;
}

std::string said(const std::function<void()>& act) {
    try {
        act();
    } catch (const Error& error) {
        return error.what();
    }
    return "nothing was wrong";
}

// A NumPy array of float16, and a zip archive that stores it as it is.
std::string npy(const FeatureTable& table, const std::string& descr = "<f2") {
    std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" +
                         std::to_string(table.rows) + ", " + std::to_string(table.width) + "), }";
    while ((10 + header.size() + 1) % 64 != 0) header += ' ';
    header += '\n';
    std::string out = std::string("\x93NUMPY\x01\x00", 8);
    out += static_cast<char>(header.size() & 255);
    out += static_cast<char>(header.size() >> 8);
    out += header;
    for (float value : table.values) {
        const uint16_t half = half_from_float(value);
        out += static_cast<char>(half & 255);
        out += static_cast<char>(half >> 8);
    }
    return out;
}

uint32_t crc32_of(const std::string& text) {
    uint32_t crc = 0xffffffffu;
    for (unsigned char c : text) {
        crc ^= c;
        for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

std::string zip_of(const std::string& name, const std::string& content) {
    auto put = [](std::string& out, uint32_t value, int bytes) {
        for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
    };
    auto common = [&](std::string& out) {
        put(out, 20, 2), put(out, 0, 2), put(out, 0, 2), put(out, 0, 4), put(out, crc32_of(content), 4);
        put(out, static_cast<uint32_t>(content.size()), 4),
            put(out, static_cast<uint32_t>(content.size()), 4);
        put(out, static_cast<uint32_t>(name.size()), 2), put(out, 0, 2);
    };
    std::string file = "PK\x03\x04";
    common(file);
    file += name + content;
    std::string directory = "PK\x01\x02";
    put(directory, 20, 2);
    common(directory);
    put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 4),
        put(directory, 0, 4);
    directory += name;
    std::string end = "PK\x05\x06";
    put(end, 0, 4), put(end, 1, 2), put(end, 1, 2), put(end, static_cast<uint32_t>(directory.size()), 4);
    put(end, static_cast<uint32_t>(file.size()), 4), put(end, 0, 2);
    return file + directory + end;
}

TEST(HalfPrecision, EveryFiniteHalfSurvivesTheWayThroughFloat) {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
        if ((bits & 0x7c00u) == 0x7c00u) continue;
        ASSERT_EQ(half_from_float(float_from_half(static_cast<uint16_t>(bits))), bits);
    }
}

TEST(HalfPrecision, RoundsToTheNearestAndTiesToEven) {
    EXPECT_EQ(half_from_float(1.0f), 0x3c00);
    EXPECT_EQ(half_from_float(1.0f + 0x1p-11f), 0x3c00);     // halfway, even below
    EXPECT_EQ(half_from_float(1.0f + 3 * 0x1p-11f), 0x3c02); // halfway, even above
    EXPECT_EQ(half_from_float(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);
    EXPECT_EQ(half_from_float(65504.0f), 0x7bff);
    EXPECT_EQ(half_from_float(65519.996f), 0x7bff);
    EXPECT_EQ(half_from_float(65520.0f), 0x7c00);
    EXPECT_EQ(half_from_float(0x1p-25f), 0x0000);
    EXPECT_EQ(half_from_float(0x1.8p-25f), 0x0001);
    EXPECT_EQ(half_from_float(-0.5f), 0xb800);
}

TEST(FeatureStore, KeepsWhatIsWrittenInHalfPrecision) {
    test::TempDir folder;
    const std::string path = folder / "features/coco/a.safetensors";
    write_features(path, counting(4, 6), "images/a.png");
    check_stored_features(path);
    const FeatureTable read = read_features(path, "a");
    EXPECT_EQ(read.rows, 4);
    EXPECT_EQ(read.width, 6);
    EXPECT_EQ(read.values, counting(4, 6).values); // eighths are exact
    const auto file = SafetensorsFile::open(path);
    EXPECT_EQ(file->tensors().at("feats").dtype, Dtype::f16);
    EXPECT_EQ(file->metadata().at("source"), "images/a.png");
}

TEST(FeatureStore, RefusesWhatFloat16DoesNotHold) {
    test::TempDir folder;
    FeatureTable table = counting(1, 2);
    table.values[1] = 1e6f;
    EXPECT_THAT(said([&] { write_features(folder / "a.safetensors", table, "b.png"); }), HasSubstr("b.png"));
    EXPECT_FALSE(exists(folder / "a.safetensors"));
}

TEST(FeatureStore, NamesDamagedFiles) {
    test::TempDir folder;
    const std::string path = folder / "a.safetensors";
    write_features(path, counting(4, 6), "a");
    const std::string whole = read_file(path);
    write_file_atomic(path, whole.substr(0, whole.size() - 3));
    EXPECT_THAT(said([&] { check_stored_features(path); }), HasSubstr(path));
    write_file_atomic(folder / "b.npz", "no zip");
    EXPECT_THAT(said([&] { read_features(folder / "b.npz", "b"); }), HasSubstr("b.npz"));
}

TEST(NumpyFeatures, AreReadFromAnArchiveInFloat16) {
    test::TempDir folder;
    write_file_atomic(folder / "clip.npz", zip_of("features.npy", npy(counting(3, 4))));
    const FeatureTable read = read_features(folder / "clip.npz", "clip");
    EXPECT_EQ(read.rows, 3);
    EXPECT_EQ(read.values, counting(3, 4).values);
    write_file_atomic(folder / "other.npz", zip_of("frames.npy", npy(counting(3, 4))));
    EXPECT_THAT(said([&] { read_features(folder / "other.npz", "other"); }), HasSubstr("frames"));
    FeatureTable broken = counting(3, 4);
    broken.values[5] = NAN;
    write_file_atomic(folder / "nan.npz", zip_of("features.npy", npy(broken)));
    EXPECT_THAT(said([&] { read_features(folder / "nan.npz", "nan"); }), HasSubstr("row 1"));
}

TEST(Hdf5Features, AreReadFromTheImagesGroup) {
    std::string why;
    if (!hdf5_available(&why)) GTEST_SKIP() << why;
    test::TempDir folder;
    const std::string path = folder / "COCO_1.h5";
    hdf5_library().write_matrix(path, "COCO_1/features", counting(49, 8));
    const FeatureTable read = read_features(path, "COCO_1");
    EXPECT_EQ(read.rows, 49);
    EXPECT_EQ(read.values, counting(49, 8).values);
    EXPECT_THAT(said([&] { read_features(path, "COCO_2"); }), HasSubstr("COCO_2"));
    const std::string whole = read_file(path);
    for (size_t cut : {size_t(0), size_t(7), size_t(600), whole.size() / 2}) {
        write_file_atomic(folder / "cut.h5", whole.substr(0, cut));
        EXPECT_THAT(said([&] { read_features(folder / "cut.h5", "COCO_1"); }), HasSubstr("cut.h5")) << cut;
    }
}

TEST(FittedRows, AreZerosBehindFewFramesAndMaximaOfMany) {
    const FeatureTable three = counting(3, 2);
    const FeatureTable five = fit_rows(three, 5);
    EXPECT_EQ(five.rows, 5);
    EXPECT_EQ(std::vector<float>(five.values.begin(), five.values.begin() + 6), three.values);
    EXPECT_EQ(std::vector<float>(five.values.begin() + 6, five.values.end()), std::vector<float>(4, 0.0f));
    // torch.nn.functional.adaptive_max_pool1d over 5 frames to 3: [0, 2), [1, 4), [3, 5)
    const FeatureTable pooled = fit_rows({5, 1, {5, 1, 2, 3, 4}}, 3);
    EXPECT_EQ(pooled.values, (std::vector<float>{5, 3, 4}));
    EXPECT_EQ(fit_rows(three, 0).rows, 3);
}

} // namespace
} // namespace dorabench
