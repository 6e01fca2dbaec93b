#include "backends/llama/decoder.h"
#include <algorithm>

namespace dorabench {
namespace {

KvStore store_for(const LlamaModel& model) {
    const LlamaConfig& c = model.config();
    return KvStore(c.layers, c.kv_heads, c.head_dim,
                   at::TensorOptions()
                       .device(model.device())
                       .dtype(model.device().is_cpu() ? at::kFloat : model.dtype()));
}

at::Tensor longs(std::span<const int64_t> values, at::Device device) {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
    return out.to(device);
}

std::vector<PrefixGroup> each_alone(const std::vector<Ids>& prompts) {
    std::vector<PrefixGroup> groups;
    for (size_t i = 0; i < prompts.size(); ++i)
        groups.push_back({{i}, static_cast<int64_t>(prompts[i].size())});
    return groups;
}

} // namespace

EmbedCodes embed_tokens(const LlamaModel& model) {
    return [&model](std::span<const int64_t> ids) { return model.embed(longs(ids, model.device())); };
}

struct LlamaDecoder::Started {
    std::vector<int64_t> codes, positions;
    std::vector<PackedRow> rows; // the prefixes that are computed now, as causal rows in front
    KeyLists rest, ends;         // what the codes behind them see; what the last code of each prompt sees
    std::vector<int64_t> last;   // per prompt: its last code
    int64_t longest = 1;
};

LlamaDecoder::LlamaDecoder(LlamaModel& model, std::vector<Codes> prompts,
                           const std::vector<PrefixGroup>& groups, EmbedCodes embed)
    : model_(model), prompts_(std::move(prompts)), group_of_(prompts_.size()), embed_(std::move(embed)),
      store_(store_for(model)) {
    for (size_t g = 0; g < groups.size(); ++g) {
        for (size_t row : groups[g].rows) group_of_[row] = g;
        prefixes_.push_back({groups[g].length, static_cast<int64_t>(groups[g].rows.size())});
    }
}

LlamaDecoder::LlamaDecoder(LlamaModel& model, std::vector<Ids> prompts)
    : LlamaDecoder(model, prompts, each_alone(prompts), embed_tokens(model)) {}

// Places that no row sees any more, and no waiting prompt will, may be forgotten.
void LlamaDecoder::reserve(int64_t more) {
    if (store_.used() + more <= store_.capacity()) return;
    std::vector<char> alive(store_.used(), 0);
    for (const Row& row : rows_) {
        std::fill(alive.begin() + row.prefix_begin, alive.begin() + row.prefix_end, char(1));
        for (int64_t place : row.tail) alive[place] = 1;
    }
    for (const Prefix& prefix : prefixes_)
        if (prefix.resident) std::fill_n(alive.begin() + prefix.begin, prefix.length, char(1));
    const std::vector<int64_t> moved = store_.reserve(more, alive);
    if (moved.empty()) return;
    for (Row& row : rows_) {
        row.prefix_begin = moved[row.prefix_begin], row.prefix_end = moved[row.prefix_end];
        for (int64_t& place : row.tail) place = moved[place];
    }
    for (Prefix& prefix : prefixes_)
        if (prefix.resident) prefix.begin = moved[prefix.begin];
}

// The prefixes that are not there yet first, then what each prompt has behind its own.
LlamaDecoder::Started LlamaDecoder::plan_start(std::span<const int64_t> prompts) {
    Started plan;
    const int64_t base = store_.used();
    auto append = [&](const Codes& codes, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) plan.codes.push_back(codes[i]), plan.positions.push_back(i);
    };
    for (int64_t p : prompts) {
        Prefix& prefix = prefixes_[group_of_[p]];
        if (prefix.resident) continue;
        const int64_t begin = static_cast<int64_t>(plan.codes.size());
        append(prompts_[p], 0, prefix.length);
        plan.rows.push_back({begin, begin + prefix.length});
        prefix.resident = true;
        prefix.begin = base + begin;
    }
    for (int64_t p : prompts) {
        Prefix& prefix = prefixes_[group_of_[p]];
        const int64_t begin = base + static_cast<int64_t>(plan.codes.size()),
                      prefix_end = prefix.begin + prefix.length;
        append(prompts_[p], prefix.length, static_cast<int64_t>(prompts_[p].size()));
        const int64_t end = base + static_cast<int64_t>(plan.codes.size());
        Row row{prefix.begin, prefix_end, {}};
        for (int64_t place = begin; place < end; ++place) {
            row.tail.push_back(place);
            plan.rest.add_range(prefix.begin, prefix_end, begin, place + 1);
        }
        plan.ends.add_range(prefix.begin, prefix_end, begin, end);
        plan.last.push_back((end > begin ? end : prefix_end) - 1 - base); // a prefix alone is computed here
        plan.longest = std::max(plan.longest, row.length());
        rows_.push_back(std::move(row));
        if (--prefix.waiting == 0) prefix.resident = false; // the rows hold it from now on
    }
    return plan;
}

at::Tensor LlamaDecoder::start(std::span<const int64_t> prompts) {
    int64_t most = 0; // what is not shared after all is little beside moving the store twice
    for (int64_t p : prompts) most += static_cast<int64_t>(prompts_[p].size());
    reserve(most);
    const Started plan = plan_start(prompts);
    const int64_t n = static_cast<int64_t>(plan.codes.size()), rest = static_cast<int64_t>(plan.rest.size());
    const LastRows ends{
        longs(plan.last, model_.device()), // the last layer is needed for the prompts' ends alone
        [&](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            store_.put(layer, k, v);
            return listed_attention(q, store_.keys(layer), store_.values(layer), plan.ends);
        }};
    const bool math = model_.math_attention(), trims = model_.trims_last_layer();
    at::Tensor h = model_.forward(
        embed_(plan.codes), longs(plan.positions, model_.device()), plan.longest,
        [&](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            store_.put(layer, k, v);
            std::vector<at::Tensor> parts;
            if (rest < n) parts.push_back(causal_attention(q, k, v, plan.rows, math));
            if (rest > 0)
                parts.push_back(listed_attention(q.narrow(0, n - rest, rest), store_.keys(layer),
                                                 store_.values(layer), plan.rest));
            return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
        },
        nullptr, trims ? &ends : nullptr);
    store_.advance(n);
    prefilled_ += n;
    return model_.logits(trims ? h : h.index_select(0, ends.index)).cpu().contiguous();
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
    reserve(n);
    KeyLists lists;
    for (int64_t i = 0; i < n; ++i) {
        rows_[i].tail.push_back(store_.used() + i);
        lists.add(rows_[i].prefix_begin, rows_[i].prefix_end, rows_[i].tail);
    }
    const int64_t longest = *std::max_element(positions.begin(), positions.end()) + 1;
    at::Tensor x = model_.embed(longs(tokens, model_.device()));
    at::Tensor h =
        model_.forward(x, longs(positions, model_.device()), longest,
                       [&](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                           store_.put(layer, k, v);
                           return listed_attention(q, store_.keys(layer), store_.values(layer), lists);
                       });
    store_.advance(n);
    return model_.logits(h).cpu().contiguous();
}

} // namespace dorabench
