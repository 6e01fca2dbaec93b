#include "backends/media/feature_files.h"
#include "backends/io/npy.h"
#include "backends/io/safetensors.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>

namespace dorabench {
namespace {

constexpr int64_t kMostValues = int64_t(1) << 28;

std::string shape_text(const std::vector<int64_t>& shape) {
    std::vector<std::string> sizes;
    for (int64_t size : shape) sizes.push_back(std::to_string(size));
    return "[" + join(sizes, ", ") + "]";
}

void check_shape(const std::vector<int64_t>& shape, const std::string& what) {
    if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1)
        throw Error::data(what, ": expected features [rows, width], got ", shape_text(shape));
    if (shape[0] > kMostValues / shape[1])
        throw Error::data(what, ": expected at most ", kMostValues, " values, got ", shape_text(shape));
}

template <typename T>
T number_at(const char* bytes, size_t index) {
    T value;
    std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
    return value;
}

float value_at(Dtype dtype, const char* bytes, size_t index, const std::string& what) {
    switch (dtype) {
    case Dtype::f16:
        return float_from_half(number_at<uint16_t>(bytes, index));
    case Dtype::bf16:
        return std::bit_cast<float>(static_cast<uint32_t>(number_at<uint16_t>(bytes, index)) << 16);
    case Dtype::f32:
        return number_at<float>(bytes, index);
    case Dtype::f64:
        return static_cast<float>(number_at<double>(bytes, index));
    default:
        throw Error::data(what, ": expected floating-point numbers, got ", dtype_name(dtype));
    }
}

FeatureTable table_of(Dtype dtype, const std::vector<int64_t>& shape, const char* bytes,
                      const std::string& what) {
    check_shape(shape, what);
    FeatureTable out{shape[0], shape[1], {}};
    const auto count = static_cast<size_t>(out.rows * out.width);
    out.values.reserve(count);
    for (size_t i = 0; i < count; ++i) out.values.push_back(value_at(dtype, bytes, i, what));
    return out;
}

FeatureTable read_npz_features(const std::string& path) {
    const auto arrays = read_npz(path);
    const auto found = arrays.find("features");
    if (found == arrays.end()) {
        std::vector<std::string> names;
        for (const auto& [name, array] : arrays) names.push_back(name);
        throw Error::data(path, ": expected an array \"features\", it holds ", join(names, ", "));
    }
    return table_of(found->second.dtype, found->second.shape, found->second.bytes.data(),
                    path + ": features");
}

FeatureTable read_stored_features(const std::string& path) {
    const auto file = SafetensorsFile::open(path);
    const auto found = file->tensors().find("feats");
    if (found == file->tensors().end()) throw Error::data(path, ": expected a tensor \"feats\", got none");
    const auto bytes = file->bytes(found->second);
    return table_of(found->second.dtype, found->second.shape, reinterpret_cast<const char*>(bytes.data()),
                    path + ": feats");
}

struct LoadedHdf5 {
    const Hdf5Library* library = nullptr;
    std::string why_not;
};

const LoadedHdf5& load_hdf5() {
    static const LoadedHdf5 loaded = [] {
        LoadedHdf5 out;
        const std::string path = executable_folder() + "/libdorabench_hdf5.so";
        void* object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!object) {
            out.why_not = dlerror();
            return out;
        }
        using Entry = const Hdf5Library* (*)();
        auto entry = reinterpret_cast<Entry>(dlsym(object, "dorabench_hdf5_v1"));
        if (entry)
            out.library = entry();
        else
            out.why_not = path + " has no entry dorabench_hdf5_v1: it belongs to another build";
        return out;
    }();
    return loaded;
}

} // namespace

const Hdf5Library& hdf5_library() {
    const LoadedHdf5& loaded = load_hdf5();
    if (!loaded.library)
        throw Error::resources(
            "HDF5 features need libdorabench_hdf5.so beside the program: ", loaded.why_not,
            "; install libhdf5-dev and build again, or make features with `dora-bench features`");
    return *loaded.library;
}

bool hdf5_available(std::string* why_not) {
    if (why_not) *why_not = load_hdf5().why_not;
    return load_hdf5().library != nullptr;
}

uint16_t half_from_float(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u); // rounds to infinity
    uint32_t mantissa = 0, rest = 0, half = 0;
    if (magnitude >= 0x38800000u) { // normal: 13 bits go
        mantissa = (magnitude - 0x38000000u) >> 13;
        rest = magnitude & 0x1fffu;
        half = 0x1000u;
    } else {
        const uint32_t exponent = magnitude >> 23;
        if (exponent < 102) return static_cast<uint16_t>(sign); // below half of the smallest
        const uint32_t shift = 126 - exponent, full = (magnitude & 0x7fffffu) | 0x800000u;
        mantissa = full >> shift;
        rest = full & ((1u << shift) - 1);
        half = 1u << (shift - 1);
    }
    if (rest > half || (rest == half && (mantissa & 1))) ++mantissa;
    return static_cast<uint16_t>(sign | mantissa);
}

float float_from_half(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, exponent = (bits >> 10) & 0x1fu;
    const uint32_t mantissa = bits & 0x3ffu;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
    if (exponent == 0) { // mantissa * 2^-24
        const float value = static_cast<float>(mantissa) * 0x1p-24f;
        return sign ? -value : value;
    }
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

FeatureTable read_features(const std::string& path, const std::string& id) {
    FeatureTable out;
    if (ends_with(path, ".npz"))
        out = read_npz_features(path);
    else if (ends_with(path, ".h5") || ends_with(path, ".hdf5"))
        out = hdf5_library().read_matrix(path, id + "/features");
    else
        out = read_stored_features(path);
    for (size_t i = 0; i < out.values.size(); ++i)
        if (!std::isfinite(out.values[i]))
            throw Error::data(path, ": expected finite features, row ", i / static_cast<size_t>(out.width),
                              " holds NaN or infinity");
    return out;
}

void write_features(const std::string& path, const FeatureTable& table, const std::string& source) {
    if (table.rows < 1 || table.width < 1 ||
        table.values.size() != static_cast<size_t>(table.rows) * static_cast<size_t>(table.width))
        throw Error::internal("[write_features] ", table.rows, " x ", table.width, " values expected, got ",
                              table.values.size());
    std::vector<uint16_t> halves;
    halves.reserve(table.values.size());
    for (float value : table.values) {
        halves.push_back(half_from_float(value));
        if ((halves.back() & 0x7c00u) == 0x7c00u)
            throw Error::data(source, ": expected features that float16 holds (finite, at most 65504), got ",
                              value);
    }
    make_folder(std::filesystem::path(path).parent_path().string());
    write_safetensors(path,
                      {{"feats", Dtype::f16, {table.rows, table.width}, std::as_bytes(std::span(halves))}},
                      {{"format", "pt"}, {"source", source}});
}

void check_stored_features(const std::string& path) {
    const auto file = SafetensorsFile::open(path);
    const auto found = file->tensors().find("feats");
    if (found == file->tensors().end()) throw Error::data(path, ": expected a tensor \"feats\", got none");
    check_shape(found->second.shape, path + ": feats");
}

FeatureTable fit_rows(const FeatureTable& table, int64_t rows) {
    if (rows == 0 || rows == table.rows) return table;
    FeatureTable out{rows, table.width, {}};
    out.values.assign(static_cast<size_t>(rows * table.width), 0.0f);
    if (table.rows < rows) {
        std::copy(table.values.begin(), table.values.end(), out.values.begin());
        return out;
    }
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t begin = i * table.rows / rows, end = ((i + 1) * table.rows + rows - 1) / rows;
        for (int64_t c = 0; c < table.width; ++c) {
            float most = table.values[static_cast<size_t>(begin * table.width + c)];
            for (int64_t r = begin + 1; r < end; ++r)
                most = std::max(most, table.values[static_cast<size_t>(r * table.width + c)]);
            out.values[static_cast<size_t>(i * table.width + c)] = most;
        }
    }
    return out;
}

} // namespace dorabench
