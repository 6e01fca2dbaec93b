#pragma once
// NF4 weights in safetensors, as bitsandbytes and transformers keep them. Beside "<name>" (uint8 codes [n /
// 2, 1]):
// ".absmax", ".quant_map", with double quantisation ".nested_absmax" and ".nested_quant_map", and
// ".quant_state.bitsandbytes__nf4", a JSON text as uint8 (blocksize, dtype, shape, nested_blocksize,
// nested_offset).
#include "backends/ops/nf4.h"
#include "backends/ops/tensor_io.h"
#include <optional>

namespace dorabench {

bool holds_nf4(const Checkpoint& checkpoint, const std::string& name); // "<name>" is stored so
bool belongs_to_nf4(const std::string& key);                           // one of the keys beside "<name>"
std::vector<std::string> nf4_keys(const Checkpoint& checkpoint, const std::string& name); // those beside it
// Copied, never mapped. dtype: of the dequantised weight; undefined: the one that the file names. Error::data
// names file, key and what is wrong.
std::shared_ptr<Nf4Weight> read_nf4(const Checkpoint& checkpoint, const std::string& name,
                                    std::optional<at::ScalarType> dtype = {},
                                    std::shared_ptr<Nf4Buffer> buffer = nullptr);
std::vector<NamedTensor> nf4_tensors(const std::string& name, const Nf4Weight& weight); // for writing

} // namespace dorabench
