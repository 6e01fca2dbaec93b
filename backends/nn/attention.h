#pragma once
// Attention without padding. Sequences lie behind each other in one packed batch [N, heads, D]; causal
// attention stays within a sequence. While decoding, every query brings the list of key rows that it sees in
// a common buffer, so that beams share their prompt's keys, reordering copies nothing and no place is ever
// masked: a row's result does not depend on its neighbours.
#include "backends/ops/aten.h"
#include <span>

namespace dorabench {

struct PackedRow {
    int64_t begin = 0, end = 0;
}; // tokens of one sequence

// q [N, H, D], k and v [N, Hkv, D] (H a multiple of Hkv) -> [N, H * D]; each row attends to its own earlier
// tokens. Differentiable. math: softmax(q k^T / sqrt(D)) v as written, in float32 (bit-exact against the
// reference code); else LibTorch's fused attention.
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::span<const PackedRow> rows, bool math);

// What each query sees: the rows [prefix_begin, prefix_end) of the buffer and then the listed ones.
struct KeyLists {
    std::vector<int64_t> prefix_begin, prefix_end; // [R]
    std::vector<int64_t> tail_offset{0};           // [R + 1] into tail
    std::vector<int64_t> tail;                     // row numbers in the buffer
    void add(int64_t begin, int64_t end, std::span<const int64_t> rows);
    void add_range(int64_t begin, int64_t end, int64_t tail_begin, int64_t tail_end);
    size_t size() const { return prefix_begin.size(); }
};

// q [R, H, D], k and v [M, Hkv, D] -> [R, H * D]. Inference only.
at::Tensor listed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const KeyLists& lists);
// By gathering and masking in ATen, on any device.
at::Tensor listed_attention_ref(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const KeyLists& lists);

} // namespace dorabench
