#pragma once
// Between safetensors files and tensors.
#include "backends/io/safetensors.h"
#include "backends/ops/aten.h"
#include "harness/api/backend.h"

namespace dorabench {

at::ScalarType scalar_type(Dtype dtype);
Dtype dtype_of(at::ScalarType type);
at::ScalarType parse_dtype(const std::string& name); // float32 | bfloat16 | float16
// A tensor over the file's mapping (no copy; the mapping lives as long as the tensor), read only by
// convention; copied where the file's alignment does not suit the dtype.
at::Tensor map_tensor(std::shared_ptr<const SafetensorsFile> file, const TensorEntry& entry);
std::vector<NamedTensor> read_tensors(const std::string& path); // a whole file, mapped
void write_tensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                   const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

} // namespace dorabench
