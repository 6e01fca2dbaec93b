#pragma once
// Keys and values of one kind of attention while decoding: a growing buffer for each layer, in which rows of
// different requests lie in any order. On the CPU in float32, which listed_attention reads.
#include "backends/ops/aten.h"

namespace dorabench {

class KvStore {
public:
    KvStore(int64_t layers, int64_t heads, int64_t head_dim, at::TensorOptions options);
    int64_t used() const { return used_; }
    int64_t capacity() const { return capacity_; }
    // Makes room for `more` rows. Rows that are not alive (alive [used]) may be forgotten: then the others
    // move, and the result says where each old place, and the end, now is; otherwise it is empty.
    std::vector<int64_t> reserve(int64_t more, const std::vector<char>& alive);
    void put(int64_t layer, const at::Tensor& k, const at::Tensor& v); // [n, heads, head_dim] at used()
    void advance(int64_t n) { used_ += n; }                            // behind the put()s of all layers
    const at::Tensor& keys(int64_t layer) const { return keys_[layer]; }
    const at::Tensor& values(int64_t layer) const { return values_[layer]; }

private:
    void resize(int64_t capacity);
    int64_t heads_, head_dim_;
    at::TensorOptions options_;
    std::vector<at::Tensor> keys_, values_; // [capacity, heads, head_dim]
    int64_t used_ = 0, capacity_ = 0;
};

} // namespace dorabench
