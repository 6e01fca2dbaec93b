#pragma once
// PyTorch's zip checkpoints (.bin, .pt, .pth, .ckpt) without Python: a pickle interpreter that knows
// dictionaries, lists, numbers, text and tensors, and nothing that could run. The only names that it takes
// are
//   collections.OrderedDict, torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter, torch.Size and
//   torch's storage classes;
// every other name is refused with that name in the message. Offsets, strides and sizes are checked against
// the storages, and what is unpacked against the file's own size.
#include "backends/io/safetensors.h"
#include <string>
#include <vector>

namespace dorabench {

struct PickledTensor {
    std::string name; // nested dictionaries joined with dots
    Dtype dtype;
    std::vector<int64_t> shape;
    std::string bytes; // C order
};

// Error::data names the file, the place and what is wrong; the older format without a zip archive is refused
// with the command that converts it.
std::vector<PickledTensor> read_torch_file(const std::string& path);

} // namespace dorabench
