#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include <cstring>

namespace dorabench {

at::ScalarType scalar_type(Dtype dtype) {
    switch (dtype) {
    case Dtype::f64:
        return at::kDouble;
    case Dtype::f32:
        return at::kFloat;
    case Dtype::f16:
        return at::kHalf;
    case Dtype::bf16:
        return at::kBFloat16;
    case Dtype::i64:
        return at::kLong;
    case Dtype::i32:
        return at::kInt;
    case Dtype::i16:
        return at::kShort;
    case Dtype::i8:
        return at::kChar;
    case Dtype::u8:
        return at::kByte;
    case Dtype::boolean:
        return at::kBool;
    case Dtype::f8_e4m3:
        return at::kFloat8_e4m3fn;
    case Dtype::f8_e5m2:
        return at::kFloat8_e5m2;
    case Dtype::u16:
        return at::ScalarType::UInt16;
    case Dtype::u32:
        return at::ScalarType::UInt32;
    case Dtype::u64:
        return at::ScalarType::UInt64;
    }
    throw Error::internal("tensor_io: unknown dtype number ", int(dtype));
}

Dtype dtype_of(at::ScalarType type) {
    for (int i = int(Dtype::f64); i <= int(Dtype::u64); ++i)
        if (scalar_type(Dtype(i)) == type) return Dtype(i);
    throw Error::data("safetensors has no dtype for tensors of ", c10::toString(type));
}

at::ScalarType parse_dtype(const std::string& name) {
    if (name == "float32") return at::kFloat;
    if (name == "bfloat16") return at::kBFloat16;
    if (name == "float16") return at::kHalf;
    throw Error::config("dtype: expected float32, bfloat16 or float16, got \"", name, "\"");
}

at::Tensor map_tensor(std::shared_ptr<const SafetensorsFile> file, const TensorEntry& entry) {
    at::TensorOptions options = at::TensorOptions().dtype(scalar_type(entry.dtype));
    std::span<const std::byte> bytes = file->bytes(entry);
    if (bytes.empty()) return at::empty(entry.shape, options);
    if (reinterpret_cast<uintptr_t>(bytes.data()) % dtype_size(entry.dtype) != 0) {
        at::Tensor copy = at::empty(entry.shape, options);
        std::memcpy(copy.data_ptr(), bytes.data(), bytes.size());
        return copy;
    }
    void* data = const_cast<std::byte*>(bytes.data());
    return at::from_blob(
        data, entry.shape, [file = std::move(file)](void*) {}, options);
}

std::vector<NamedTensor> read_tensors(const std::string& path) {
    auto file = SafetensorsFile::open(path);
    std::vector<NamedTensor> out;
    for (const auto& [name, entry] : file->tensors()) out.push_back({name, map_tensor(file, entry)});
    return out;
}

void write_tensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                   const std::map<std::string, std::string>& metadata) {
    std::vector<at::Tensor> kept; // host copies live until the file is written
    std::vector<TensorBytes> bytes;
    for (const auto& [name, tensor] : tensors) {
        if (!tensor.defined()) throw Error::internal(path, ": tensor ", name, " is not defined");
        at::Tensor host = tensor.detach().cpu().contiguous();
        kept.push_back(host);
        bytes.push_back({name,
                         dtype_of(host.scalar_type()),
                         host.sizes().vec(),
                         {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()}});
    }
    write_safetensors(path, std::move(bytes), metadata);
}

} // namespace dorabench
