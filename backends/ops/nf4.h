#pragma once
// NF4 weights as bitsandbytes stores them (arXiv:2305.14314, section 3): a matrix [out, in] is cut,
// row-major, into blocks of 64 values; each block keeps its largest |w| (absmax) and 4-bit codes of w /
// absmax, two a byte, the first value in the high nibble. Double quantisation stores absmax - offset (offset:
// their mean) in blocks of 256 as codes of a signed 8-bit map with a scale a block.
//   w = table[code] * absmax,   absmax = map[absmax_code] * nested_absmax[block / 256] + offset
// All in float32, rounded once to the weight's dtype.
#include "backends/ops/aten.h"
#include <memory>
#include <string>

namespace dorabench {

inline constexpr int64_t kNf4Block = 64, kNf4NestedBlock = 256;

// Memory for one dequantised weight at a time, shared by the sites of a model.
struct Nf4Buffer {
    at::Tensor memory;  // flat
    uint64_t holds = 0; // Nf4Weight::id of its content; 0: none
};

struct Nf4Weight {
    int64_t out = 0, in = 0;
    at::ScalarType dtype = at::kFloat; // of the dequantised weight
    int64_t block = kNf4Block, nested_block = kNf4NestedBlock;
    at::Tensor codes;         // uint8 [ceil(out in / 2)]
    at::Tensor absmax;        // float32 [blocks]; double quantised: uint8 codes
    at::Tensor nested_absmax; // float32 [ceil(blocks / nested_block)]; undefined: not double quantised
    at::Tensor nested_map;    // float32 [256]
    double offset = 0;
    at::Tensor original_norms; // float32 [out], of the weight before quantisation; undefined where unknown
    uint64_t id = 0;           // one of its own for every weight made
    std::shared_ptr<Nf4Buffer> buffer;

    bool nested() const { return nested_absmax.defined(); }
    int64_t blocks() const { return (out * in + block - 1) / block; }
    at::Device device() const { return codes.device(); }
    // [out, in] in `dtype`, dequantised into the buffer: valid until another weight of the same buffer asks.
    // A second call in a row costs nothing.
    at::Tensor dense() const;
};

// weight [out, in], any floating type; `dtype` is that of the weight. Error::data where it holds NaN or
// infinity. The working copy is one block wide: no wider copy of the weight is made.
std::shared_ptr<Nf4Weight> nf4_quantise(const at::Tensor& weight, bool double_quant,
                                        std::shared_ptr<Nf4Buffer> buffer = nullptr);
at::Tensor nf4_absmax(const Nf4Weight& weight);                     // float32 [blocks], decoded
at::Tensor nf4_dequantise(const Nf4Weight& weight, at::ScalarType); // [out, in], memory of its own
// Shapes and types of the parts against each other; Error::data begins with `place`. Gives it an id and,
// where it has none, a buffer.
void nf4_check(Nf4Weight& weight, const std::string& place);

at::Tensor nf4_table();       // float32 [16]
at::Tensor nf4_dynamic_map(); // float32 [256]: the signed dynamic map (arXiv:2110.02861), ascending

namespace ref {                                     // plain loops, for tests
at::Tensor nf4_dequantise(const Nf4Weight& weight); // float32 [out, in]
} // namespace ref

} // namespace dorabench
