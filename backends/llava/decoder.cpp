#include "backends/llava/decoder.h"
#include <algorithm>

namespace dorabench {

struct SharedPrefixDecoder::Started {
    std::vector<int64_t> codes, positions;
    std::vector<PackedRow> rows;                      // the prefixes that are computed now
    std::vector<std::pair<int64_t, size_t>> suffixes; // first code in `codes`, index in the call's prompts
    std::vector<std::pair<size_t, int64_t>> fresh;    // group, first code of its prefix
    std::vector<int64_t> last;                        // per prompt: the code whose state predicts
    int64_t causal = 0;                               // codes before the suffixes
};

SharedPrefixDecoder::SharedPrefixDecoder(LlamaModel& model, std::vector<Codes> prompts,
                                         const std::vector<PrefixGroup>& groups, EmbedCodes embed)
    : model_(model), prompts_(std::move(prompts)), group_of_(prompts_.size()), embed_(std::move(embed)) {
    keys_.resize(model.config().layers);
    values_.resize(model.config().layers);
    for (size_t g = 0; g < groups.size(); ++g) {
        for (size_t row : groups[g].rows) group_of_[row] = g;
        prefixes_.push_back({groups[g].length, static_cast<int64_t>(groups[g].rows.size())});
    }
}

at::Tensor SharedPrefixDecoder::to_device(const std::vector<int64_t>& values) const {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
    return out.to(model_.device());
}

void SharedPrefixDecoder::resize(int64_t capacity) {
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

// Forgets the places that no row sees any more and no waiting row will.
void SharedPrefixDecoder::compact() {
    std::vector<char> alive(used_, 0);
    for (const Row& row : rows_) {
        std::fill(alive.begin() + row.prefix_begin, alive.begin() + row.prefix_end, char(1));
        for (int64_t place : row.tail) alive[place] = 1;
    }
    for (const Prefix& prefix : prefixes_)
        if (prefix.resident) std::fill_n(alive.begin() + prefix.begin, prefix.length, char(1));
    std::vector<int64_t> kept, moved(used_ + 1, 0);
    for (int64_t i = 0; i < used_; ++i) {
        moved[i] = static_cast<int64_t>(kept.size());
        if (alive[i]) kept.push_back(i);
    }
    moved[used_] = static_cast<int64_t>(kept.size());
    if (static_cast<int64_t>(kept.size()) > used_ / 2) return; // not worth it
    const at::Tensor index = to_device(kept);
    for (auto* buffers : {&keys_, &values_})
        for (at::Tensor& buffer : *buffers)
            if (!kept.empty())
                buffer.narrow(0, 0, static_cast<int64_t>(kept.size())).copy_(buffer.index_select(0, index));
    for (Row& row : rows_) {
        row.prefix_begin = moved[row.prefix_begin], row.prefix_end = moved[row.prefix_end];
        for (int64_t& place : row.tail) place = moved[place];
    }
    for (Prefix& prefix : prefixes_)
        if (prefix.resident) prefix.begin = moved[prefix.begin];
    used_ = static_cast<int64_t>(kept.size());
}

void SharedPrefixDecoder::reserve(int64_t more) {
    if (used_ + more <= capacity_) return;
    compact();
    if (used_ + more > capacity_) resize(std::max(used_ + more + 256, capacity_ + capacity_ / 2));
}

void SharedPrefixDecoder::store(int64_t layer, const at::Tensor& k, const at::Tensor& v) {
    keys_[layer].narrow(0, used_, k.size(0)).copy_(k);
    values_[layer].narrow(0, used_, v.size(0)).copy_(v);
}

// The prefixes first, as causal rows, then every prompt's own codes.
void SharedPrefixDecoder::plan_start(std::span<const int64_t> prompts, Started& plan) {
    auto append = [&](const Codes& codes, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) plan.codes.push_back(codes[i]), plan.positions.push_back(i);
    };
    for (int64_t p : prompts) {
        Prefix& prefix = prefixes_[group_of_[p]];
        if (prefix.resident) continue;
        const int64_t begin = static_cast<int64_t>(plan.codes.size());
        append(prompts_[p], 0, prefix.length);
        plan.rows.push_back({begin, begin + prefix.length});
        plan.fresh.emplace_back(group_of_[p], begin);
        prefix.resident = true;
        prefix.begin = -1; // placed by start()
    }
    plan.causal = static_cast<int64_t>(plan.codes.size());
    for (size_t i = 0; i < prompts.size(); ++i) {
        const Codes& codes = prompts_[prompts[i]];
        plan.suffixes.emplace_back(static_cast<int64_t>(plan.codes.size()), i);
        append(codes, prefixes_[group_of_[prompts[i]]].length, static_cast<int64_t>(codes.size()));
        plan.last.push_back(static_cast<int64_t>(plan.codes.size()) - 1);
    }
}

at::Tensor SharedPrefixDecoder::start(std::span<const int64_t> prompts) {
    // compaction must not see prefixes that have no place yet
    int64_t most = 0;
    for (int64_t p : prompts) most += static_cast<int64_t>(prompts_[p].size());
    reserve(most);
    Started plan;
    plan_start(prompts, plan);
    for (const auto& [group, first] : plan.fresh) prefixes_[group].begin = used_ + first;
    KeyLists lists;
    int64_t longest = 1;
    for (const auto& [first, i] : plan.suffixes) {
        Prefix& prefix = prefixes_[group_of_[prompts[i]]];
        const int64_t begin = used_ + first,
                      size = static_cast<int64_t>(prompts_[prompts[i]].size()) - prefix.length;
        rows_.push_back({prefix.begin, prefix.begin + prefix.length, {}});
        for (int64_t k = 0; k < size; ++k) {
            rows_.back().tail.push_back(begin + k);
            lists.add_range(prefix.begin, prefix.begin + prefix.length, begin, begin + k + 1);
        }
        if (size == 0) plan.last[i] = prefix.begin - used_ + prefix.length - 1; // computed in this call
        longest = std::max(longest, rows_.back().length());
        if (--prefix.waiting == 0) prefix.resident = false; // the rows hold it from now on
    }
    const int64_t n = static_cast<int64_t>(plan.codes.size()), split = plan.causal;
    const bool math = model_.math_attention();
    at::Tensor h =
        model_.forward(embed_(plan.codes), to_device(plan.positions), longest,
                       [&](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                           store(layer, k, v);
                           std::vector<at::Tensor> parts;
                           if (split > 0) parts.push_back(causal_attention(q, k, v, plan.rows, math));
                           if (split < n)
                               parts.push_back(listed_attention(q.narrow(0, split, n - split), keys_[layer],
                                                                values_[layer], lists));
                           return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
                       });
    used_ += n;
    prefilled_ += n;
    return model_.logits(h.index_select(0, to_device(plan.last))).cpu().contiguous();
}

at::Tensor SharedPrefixDecoder::step(std::span<const int64_t> parents, std::span<const int64_t> tokens) {
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
    at::Tensor x = model_.embed(to_device({tokens.begin(), tokens.end()}));
    at::Tensor h =
        model_.forward(x, to_device(positions), longest,
                       [&](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                           store(layer, k, v);
                           return listed_attention(q, keys_[layer], values_[layer], lists);
                       });
    used_ += n;
    return model_.logits(h).cpu().contiguous();
}

} // namespace dorabench
