#include "backends/nn/kv_store.h"
#include <algorithm>

namespace dorabench {

KvStore::KvStore(int64_t layers, int64_t heads, int64_t head_dim, at::TensorOptions options)
    : heads_(heads), head_dim_(head_dim), options_(options), keys_(layers), values_(layers) {}

void KvStore::resize(int64_t capacity) {
    for (auto* buffers : {&keys_, &values_})
        for (at::Tensor& buffer : *buffers) {
            at::Tensor larger = at::empty({capacity, heads_, head_dim_}, options_);
            if (used_ > 0) larger.narrow(0, 0, used_).copy_(buffer.narrow(0, 0, used_));
            buffer = larger;
        }
    capacity_ = capacity;
}

std::vector<int64_t> KvStore::reserve(int64_t more, const std::vector<char>& alive) {
    if (used_ + more <= capacity_) return {};
    std::vector<int64_t> moved(used_ + 1, 0), kept;
    for (int64_t i = 0; i < used_; ++i) {
        moved[i] = static_cast<int64_t>(kept.size());
        if (alive[i]) kept.push_back(i);
    }
    moved[used_] = static_cast<int64_t>(kept.size());
    const bool worth_it = static_cast<int64_t>(kept.size()) <= used_ / 2;
    if (worth_it) {
        at::Tensor index = at::empty({static_cast<int64_t>(kept.size())}, at::kLong);
        std::copy(kept.begin(), kept.end(), index.mutable_data_ptr<int64_t>());
        index = index.to(options_.device());
        for (auto* buffers : {&keys_, &values_})
            for (at::Tensor& buffer : *buffers)
                if (!kept.empty()) buffer.narrow(0, 0, index.size(0)).copy_(buffer.index_select(0, index));
        used_ = moved.back();
    }
    if (used_ + more > capacity_) resize(std::max(used_ + more + 256, capacity_ + capacity_ / 2));
    return worth_it ? moved : std::vector<int64_t>();
}

void KvStore::put(int64_t layer, const at::Tensor& k, const at::Tensor& v) {
    keys_[layer].narrow(0, used_, k.size(0)).copy_(k);
    values_[layer].narrow(0, used_, v.size(0)).copy_(v);
}

} // namespace dorabench
