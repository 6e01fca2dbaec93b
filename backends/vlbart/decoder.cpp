#include "backends/vlbart/decoder.h"
#include <algorithm>

namespace dorabench {
namespace {

at::TensorOptions store_options(const BartModel& model) {
    return at::TensorOptions()
        .device(model.device())
        .dtype(model.device().is_cpu() ? at::kFloat : model.dtype());
}

KvStore store_for(const BartModel& model) {
    const BartConfig& c = model.config();
    return KvStore(c.decoder_layers, c.decoder_heads, c.d_model / c.decoder_heads, store_options(model));
}

at::Tensor longs(const std::vector<int64_t>& values, at::Device device) {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
    return out.to(device);
}

} // namespace

BartDecoder::BartDecoder(BartModel& model, std::vector<BartPrompt> prompts)
    : model_(model), prompts_(std::move(prompts)), self_(store_for(model)), cross_(store_for(model)) {}

void BartDecoder::reserve_self(int64_t more) {
    std::vector<char> alive(self_.used(), 0);
    for (const Row& row : rows_)
        for (int64_t place : row.tail) alive[place] = 1;
    const auto moved = self_.reserve(more, alive);
    if (moved.empty()) return;
    for (Row& row : rows_)
        for (int64_t& place : row.tail) place = moved[place];
}

void BartDecoder::reserve_cross(int64_t more) {
    std::vector<char> alive(cross_.used(), 0);
    for (const Row& row : rows_)
        std::fill(alive.begin() + row.source_begin, alive.begin() + row.source_end, char(1));
    const auto moved = cross_.reserve(more, alive);
    if (moved.empty()) return;
    for (Row& row : rows_) row.source_begin = moved[row.source_begin], row.source_end = moved[row.source_end];
}

at::Tensor BartDecoder::start(std::span<const int64_t> prompts) {
    std::vector<BartSource> sources;
    std::vector<const BartSource*> pointers;
    for (int64_t p : prompts)
        sources.push_back(
            {prompts_[p].ids, read_visual(prompts_[p].media, model_.config().visual, prompts_[p].what)});
    for (const BartSource& source : sources) pointers.push_back(&source);
    std::vector<PackedRow> rows;
    const at::Tensor memory = model_.encode(pointers, rows);
    reserve_cross(memory.size(0)); // may move places
    for (int64_t layer = 0; layer < model_.config().decoder_layers; ++layer) {
        const auto cross = model_.cross_keys_values(layer, memory);
        cross_.put(layer, cross.keys, cross.values);
    }
    const size_t first = rows_.size();
    for (const PackedRow& row : rows)
        rows_.push_back({cross_.used() + row.begin, cross_.used() + row.end, {}});
    cross_.advance(memory.size(0));
    return advance(first, std::vector<int64_t>(prompts.size(), model_.config().start));
}

at::Tensor BartDecoder::step(std::span<const int64_t> parents, std::span<const int64_t> tokens) {
    std::vector<Row> rows;
    for (int64_t parent : parents) rows.push_back(rows_[parent]);
    rows_ = std::move(rows);
    return advance(0, {tokens.begin(), tokens.end()});
}

at::Tensor BartDecoder::advance(size_t first_row, const std::vector<int64_t>& tokens) {
    const int64_t n = static_cast<int64_t>(tokens.size());
    reserve_self(n); // may move places
    std::vector<int64_t> positions;
    KeyLists own, source;
    for (int64_t i = 0; i < n; ++i) {
        Row& row = rows_[first_row + i];
        positions.push_back(static_cast<int64_t>(row.tail.size()));
        row.tail.push_back(self_.used() + i);
        own.add(0, 0, row.tail);
        source.add(row.source_begin, row.source_end, {});
    }
    const at::Tensor h =
        model_.decode(model_.decoder_input(longs(tokens, model_.device()), longs(positions, model_.device())),
                      {[&](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                           self_.put(layer, k, v);
                           return listed_attention(q, self_.keys(layer), self_.values(layer), own);
                       },
                       [&](int64_t layer, const at::Tensor& q) {
                           return listed_attention(q, cross_.keys(layer), cross_.values(layer), source);
                       }});
    self_.advance(n);
    return model_.logits(h).cpu().contiguous();
}

} // namespace dorabench
