#include "backends/llama/decoder.h"
#include <algorithm>

namespace dorabench {

LlamaDecoder::LlamaDecoder(LlamaModel& model, std::vector<LlamaPrompt> prompts)
    : model_(model), prompts_(std::move(prompts)) {
    keys_.resize(model.config().layers);
    values_.resize(model.config().layers);
}

at::Tensor LlamaDecoder::ids_tensor(const std::vector<int64_t>& values) const {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
    return out.to(model_.device());
}

void LlamaDecoder::resize(int64_t capacity) {
    const LlamaConfig& c = model_.config();
    const auto options = at::TensorOptions()
                             .device(model_.device())
                             .dtype(model_.device().is_cpu() ? at::kFloat : model_.dtype());
    for (auto* buffers : {&keys_, &values_})
        for (at::Tensor& buffer : *buffers) {
            at::Tensor larger = at::empty({capacity, c.kv_heads, c.head_dim}, options);
            if (used_ > 0) larger.narrow(0, 0, used_).copy_(buffer.narrow(0, 0, used_));
            buffer = larger;
        }
    capacity_ = capacity;
}

// Forgets the places that no row sees any more.
void LlamaDecoder::compact() {
    std::vector<char> alive(used_, 0);
    for (const Row& row : rows_) {
        std::fill(alive.begin() + row.prefix_begin, alive.begin() + row.prefix_end, char(1));
        for (int64_t place : row.tail) alive[place] = 1;
    }
    std::vector<int64_t> kept, moved(used_ + 1, 0);
    for (int64_t i = 0; i < used_; ++i) {
        moved[i] = static_cast<int64_t>(kept.size());
        if (alive[i]) kept.push_back(i);
    }
    moved[used_] = static_cast<int64_t>(kept.size());
    if (static_cast<int64_t>(kept.size()) > used_ / 2) return; // not worth it
    const at::Tensor index = ids_tensor(kept);
    for (auto* buffers : {&keys_, &values_})
        for (at::Tensor& buffer : *buffers)
            if (!kept.empty())
                buffer.narrow(0, 0, static_cast<int64_t>(kept.size())).copy_(buffer.index_select(0, index));
    for (Row& row : rows_) {
        row.prefix_begin = moved[row.prefix_begin], row.prefix_end = moved[row.prefix_end];
        for (int64_t& place : row.tail) place = moved[place];
    }
    used_ = static_cast<int64_t>(kept.size());
}

void LlamaDecoder::reserve(int64_t more) {
    if (used_ + more <= capacity_) return;
    compact();
    if (used_ + more > capacity_) resize(std::max(used_ + more + 256, capacity_ + capacity_ / 2));
}

void LlamaDecoder::store(int64_t layer, const at::Tensor& k, const at::Tensor& v) {
    keys_[layer].narrow(0, used_, k.size(0)).copy_(k);
    values_[layer].narrow(0, used_, v.size(0)).copy_(v);
}

at::Tensor LlamaDecoder::start(std::span<const int64_t> prompts) {
    std::vector<PackedRow> rows;
    std::vector<int64_t> positions, last;
    std::vector<at::Tensor> inputs;
    int64_t total = 0, longest = 1;
    for (int64_t p : prompts) {
        const LlamaPrompt& prompt = prompts_[p];
        inputs.push_back(prompt.embeddings.defined() ? prompt.embeddings.to(model_.dtype())
                                                     : model_.embed(ids_tensor(prompt.ids)));
        rows.push_back({total, total + prompt.length()});
        for (int64_t i = 0; i < prompt.length(); ++i) positions.push_back(i);
        total += prompt.length();
        longest = std::max(longest, prompt.length());
        last.push_back(total - 1);
    }
    reserve(total);
    KeyLists lists; // the last layer is needed for the prompts' ends alone
    for (const PackedRow& row : rows) lists.add(row.begin, row.end, {});
    const LastRows ends{ids_tensor(last),
                        [&](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                            store(layer, k, v);
                            return listed_attention(q, k, v, lists);
                        }};
    const bool math = model_.math_attention();
    at::Tensor h = model_.forward(
        at::cat(inputs, 0), ids_tensor(positions), longest,
        [&](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            store(layer, k, v);
            return causal_attention(q, k, v, rows, math);
        },
        nullptr, model_.trims_last_layer() ? &ends : nullptr);
    for (const PackedRow& row : rows) rows_.push_back({used_ + row.begin, used_ + row.end, {}});
    used_ += total;
    if (!model_.trims_last_layer()) h = h.index_select(0, ends.index);
    return model_.logits(h).cpu().contiguous();
}

at::Tensor LlamaDecoder::step(std::span<const int64_t> parents, std::span<const int64_t> tokens) {
    std::vector<Row> rows;
    std::vector<int64_t> positions;
    const int64_t n = static_cast<int64_t>(parents.size());
    for (int64_t i = 0; i < n; ++i) {
        rows.push_back(rows_[parents[i]]);
        positions.push_back(rows.back().length());
    }
    rows_ = std::move(rows);
    reserve(n); // may move places
    KeyLists lists;
    for (int64_t i = 0; i < n; ++i) {
        rows_[i].tail.push_back(used_ + i);
        lists.add(rows_[i].prefix_begin, rows_[i].prefix_end, rows_[i].tail);
    }
    const int64_t longest = *std::max_element(positions.begin(), positions.end()) + 1;
    at::Tensor x = model_.embed(ids_tensor({tokens.begin(), tokens.end()}));
    at::Tensor h =
        model_.forward(x, ids_tensor(positions), longest,
                       [&](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                           store(layer, k, v);
                           return listed_attention(q, keys_[layer], values_[layer], lists);
                       });
    used_ += n;
    return model_.logits(h).cpu().contiguous();
}

} // namespace dorabench
