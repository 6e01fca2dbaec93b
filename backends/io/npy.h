#pragma once
// NumPy's array files (numpy/lib/format.py, versions 1 to 3) and .npz archives of them (zip, stored or
// deflated). Read only; object arrays, which hold pickles, are refused. Every length is checked before use.
#include "backends/io/safetensors.h"
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

struct NpyArray {
    Dtype dtype;                // little-endian, as on this machine; big-endian files are swapped
    std::vector<int64_t> shape; // [] for a scalar
    std::string bytes;          // C order; Fortran order is put in C order
};

NpyArray read_npy(const std::string& path);                            // Error::data names file and place
std::map<std::string, NpyArray> read_npz(const std::string& path);     // by name, without ".npy"
NpyArray parse_npy(std::string_view content, const std::string& name); // `name` for messages

} // namespace dorabench
