#include "backends/vlbart/model.h"
#include "backends/nn/checkpointing.h"
#include "backends/ops/linear_cross_entropy.h"
#include "backends/ops/product.h"
#include "backends/vlbart/row_attention.h"
#include "harness/base/error.h"
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <array>
#include <cmath>

namespace dorabench {
namespace {

const at::Tensor& find(const Weights& weights, const std::string& name) {
    auto at = weights.find(name);
    if (at == weights.end()) throw Error::internal("vlbart: weight ", name, " was not loaded");
    return at->second;
}

at::Tensor longs(const std::vector<int64_t>& values, at::Device device) {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
    return out.to(device);
}

} // namespace

at::Tensor BartModel::Norm::operator()(const at::Tensor& x) const {
    return at::layer_norm(x, {x.size(-1)}, weight, bias, 1e-5);
}

BartModel::BartModel(const BartConfig& config, const Weights& weights, const at::Tensor& logits_bias,
                     bool math_attention, const PackedWeights& packed)
    : config_(config), shared_(find(weights, "model.shared.weight")), logits_bias_(logits_bias),
      math_(math_attention) {
    TORCH_CHECK(logits_bias.dim() == 1 && logits_bias.size(0) == config.vocab,
                "[vlbart] logits_bias must be [V=", config.vocab, "], got ", logits_bias.sizes());
    biased_logits_ = logits_bias_.count_nonzero().item<int64_t>() > 0;
    encoder_ = make_side("model.encoder.", weights, packed);
    decoder_ = make_side("model.decoder.", weights, packed);
    if (!config.visual.present()) return;
    visual_ = std::make_unique<VisualEmbedding>(config, weights);
    for (const ParameterShape& parameter : bart_shapes(config, "").parameters)
        if (parameter.part == "vision")
            visual_parameters_.push_back({parameter.name, find(weights, parameter.name)});
}

BartModel::Side BartModel::make_side(const std::string& path, const Weights& weights,
                                     const PackedWeights& packed) const {
    const bool decoder = path == "model.decoder.";
    auto site = [&](const std::string& at) {
        return std::make_unique<LinearSite>(at, frozen_linear(weights, packed, at, true));
    };
    auto norm = [&](const std::string& at) {
        return Norm{at, find(weights, at + ".weight"), find(weights, at + ".bias")};
    };
    auto attention = [&](const std::string& at) {
        return Attention{site(at + ".k_proj"), site(at + ".v_proj"), site(at + ".q_proj"),
                         site(at + ".out_proj"), norm(at + "_layer_norm")};
    };
    Side side;
    side.path = path;
    side.heads = decoder ? config_.decoder_heads : config_.encoder_heads;
    side.positions = find(weights, path + "embed_positions.weight");
    for (int64_t i = 0; i < (decoder ? config_.decoder_layers : config_.encoder_layers); ++i) {
        const std::string at = cat(path, "layers.", i, ".");
        Layer layer;
        layer.self = attention(at + "self_attn");
        if (decoder) layer.cross = attention(at + "encoder_attn");
        layer.fc1 = site(at + "fc1"), layer.fc2 = site(at + "fc2");
        layer.norm = norm(at + "final_layer_norm");
        side.layers.push_back(std::move(layer));
    }
    side.embedding_norm = norm(path + "layernorm_embedding");
    return side;
}

std::vector<LinearSite*> BartModel::sites() {
    std::vector<LinearSite*> out;
    for (Side* side : {&encoder_, &decoder_})
        for (Layer& l : side->layers) {
            for (Attention* a : {&l.self, &l.cross})
                if (a->q)
                    for (auto* s : {&a->k, &a->v, &a->q, &a->out}) out.push_back(s->get());
            out.push_back(l.fc1.get()), out.push_back(l.fc2.get());
        }
    return out;
}

std::vector<NamedTensor> BartModel::parameters() {
    std::vector<NamedTensor> out{{"model.shared.weight", shared_}};
    auto add = [&](const LinearSite& s) {
        if (!s.base().packed()) out.push_back({s.path() + ".weight", s.base().weight()});
        out.push_back({s.path() + ".bias", s.base().bias()});
    };
    auto add_norm = [&](const Norm& norm) {
        out.push_back({norm.path + ".weight", norm.weight});
        out.push_back({norm.path + ".bias", norm.bias});
    };
    for (Side* side : {&encoder_, &decoder_}) {
        out.push_back({side->path + "embed_positions.weight", side->positions});
        for (Layer& l : side->layers) {
            for (Attention* a : {&l.self, &l.cross}) {
                if (!a->q) continue;
                for (auto* s : {&a->k, &a->v, &a->q, &a->out}) add(**s);
                add_norm(a->norm);
            }
            add(*l.fc1), add(*l.fc2), add_norm(l.norm);
        }
        add_norm(side->embedding_norm);
        if (side == &encoder_) out.insert(out.end(), visual_parameters_.begin(), visual_parameters_.end());
    }
    return out;
}

at::Tensor BartModel::embed(const Side& side, const at::Tensor& ids, const at::Tensor& positions) const {
    at::Tensor x =
        at::embedding(shared_, ids, config_.pad); // the pad token's row gets no gradient here, as in HF
    if (config_.scale_embedding) x = x * std::sqrt(static_cast<double>(config_.d_model));
    return x + at::embedding(side.positions, positions + kBartPositionOffset);
}

at::Tensor BartModel::encoder_input(std::span<const BartSource* const> sources) {
    std::vector<int64_t> ids, positions, order; // order: text rows and visual rows, source by source
    std::vector<const VisualInput*> visuals;
    int64_t text_total = 0, text = 0, seen = 0;
    for (const BartSource* source : sources) text_total += static_cast<int64_t>(source->ids.size());
    for (const BartSource* source : sources) {
        const int64_t n = static_cast<int64_t>(source->ids.size());
        ids.insert(ids.end(), source->ids.begin(), source->ids.end());
        for (int64_t i = 0; i < n; ++i) positions.push_back(i), order.push_back(text + i);
        for (int64_t i = 0; i < source->visual.rows(); ++i) order.push_back(text_total + seen + i);
        text += n, seen += source->visual.rows();
        if (source->visual.rows() > 0) visuals.push_back(&source->visual);
    }
    at::Tensor x = embed(encoder_, longs(ids, device()), longs(positions, device()));
    const bool shared_norm = config_.visual.present() && config_.visual.shared_norm;
    if (!shared_norm) x = encoder_.embedding_norm(x);
    if (!visuals.empty()) {
        TORCH_CHECK(visual_, "[vlbart] features given to a BART without a visual embedding");
        x = at::cat({x, visual_->forward(visuals)}, 0).index_select(0, longs(order, device()));
    }
    return drop(shared_norm ? encoder_.embedding_norm(x) : x, encoder_, -1, kOut); // text and visual tokens
}

void BartModel::new_dropout() {
    dropout_ = {config_.dropout, config_.attention_dropout, config_.activation_dropout, 0};
    if (training_ && dropout_.any()) dropout_.seed = draw_dropout_seed();
}

DropoutKey BartModel::key(const Side& side, int64_t layer, uint32_t place) const {
    const auto own = static_cast<uint32_t>((layer + 1) * kPlaces) + place;
    return {dropout_.seed, 0, 0, 2 * own + (&side == &decoder_ ? 1 : 0)};
}

at::Tensor BartModel::drop(const at::Tensor& x, const Side& side, int64_t layer, Place place) const {
    if (!training_) return x;
    return model_dropout(x, place == kActivation ? dropout_.activation : dropout_.hidden,
                         key(side, layer, place));
}

bool BartModel::checkpoints() const { return checkpointing_ && training_ && at::GradMode::is_enabled(); }

at::Tensor BartModel::feed_forward(Side& side, int64_t index, const at::Tensor& x) {
    Layer& l = side.layers[index];
    const at::Tensor inner = drop(at::gelu(l.fc1->forward(x)), side, index, kActivation);
    return l.norm(x + drop(l.fc2->forward(inner), side, index, kOut));
}

at::Tensor BartModel::encoder_layer(int64_t index, const at::Tensor& x, std::span<const PackedRow> rows) {
    Layer& l = encoder_.layers[index];
    const std::array<LinearSite*, 3> kvq{l.self.k.get(), l.self.v.get(), l.self.q.get()};
    const auto p = forward_shared(kvq, x);
    const int64_t heads = encoder_.heads;
    const at::Tensor q = heads_of(p[2], heads), k = heads_of(p[0], heads), v = heads_of(p[1], heads);
    const at::Tensor seen = drops_attention()
                                ? dropped_attention(q, k, v, rows, rows, false, dropout_.attention,
                                                    key(encoder_, index, kSelfProbabilities))
                                : row_attention(q, k, v, rows, rows, math_);
    const at::Tensor own = drop(l.self.out->forward(seen), encoder_, index, kSelfOut);
    return feed_forward(encoder_, index, l.self.norm(x + own));
}

at::Tensor BartModel::encode(std::span<const BartSource* const> sources, std::vector<PackedRow>& rows,
                             std::vector<at::Tensor>* states) {
    rows.clear();
    int64_t total = 0;
    for (const BartSource* source : sources) {
        rows.push_back({total, total + source->length()});
        total += source->length();
    }
    at::Tensor x = encoder_input(sources);
    const bool checkpoint = checkpoints();
    if (checkpoint && !x.requires_grad())
        x = x.detach().requires_grad_(true); // or the first layer is not recorded
    for (int64_t i = 0; i < config_.encoder_layers; ++i) {
        if (states) states->push_back(x);
        if (checkpoint)
            x = checkpointed([this, i, rows](const at::Tensor& h) { return encoder_layer(i, h, rows); }, x);
        else
            x = encoder_layer(i, x, rows);
    }
    return x;
}

at::Tensor BartModel::decoder_input(const at::Tensor& ids, const at::Tensor& positions) const {
    return drop(decoder_.embedding_norm(embed(decoder_, ids, positions)), decoder_, -1, kOut);
}

BartModel::KeysValues BartModel::cross_keys_values(int64_t layer, const at::Tensor& memory) {
    Attention& cross = decoder_.layers[layer].cross;
    const std::array<LinearSite*, 2> kv{cross.k.get(), cross.v.get()};
    const auto p = forward_shared(kv, memory);
    return {heads_of(p[0], decoder_.heads), heads_of(p[1], decoder_.heads)};
}

at::Tensor BartModel::decoder_layer(int64_t index, const at::Tensor& x, const DecoderAttention& attention) {
    Layer& l = decoder_.layers[index];
    const int64_t heads = decoder_.heads;
    const std::array<LinearSite*, 3> kvq{l.self.k.get(), l.self.v.get(), l.self.q.get()};
    const auto p = forward_shared(kvq, x);
    const at::Tensor own =
        attention.self(index, heads_of(p[2], heads), heads_of(p[0], heads), heads_of(p[1], heads));
    const at::Tensor h = l.self.norm(x + drop(l.self.out->forward(own), decoder_, index, kSelfOut));
    const at::Tensor seen = attention.cross(index, heads_of(l.cross.q->forward(h), heads));
    const at::Tensor added = drop(l.cross.out->forward(seen), decoder_, index, kCrossOut);
    return feed_forward(decoder_, index, l.cross.norm(h + added));
}

at::Tensor BartModel::decode(at::Tensor x, const DecoderAttention& attention) {
    for (int64_t i = 0; i < config_.decoder_layers; ++i) x = decoder_layer(i, x, attention);
    return x;
}

at::Tensor BartModel::decode_rows(at::Tensor x, std::vector<PackedRow> rows, const at::Tensor& memory,
                                  std::vector<PackedRow> memory_rows, std::vector<at::Tensor>* states) {
    const int64_t targets = x.size(0), sources = memory.size(0);
    // A function of the decoder's states and the encoder's behind each other: what gradient checkpointing can
    // repeat.
    auto layer = [this, rows = std::move(rows), memory_rows = std::move(memory_rows)](
                     int64_t index, const at::Tensor& h, const at::Tensor& seen) {
        const KeysValues cross = cross_keys_values(index, seen);
        return decoder_layer(
            index, h,
            {[&](int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                 return drops_attention() ? dropped_attention(q, k, v, rows, rows, true, dropout_.attention,
                                                              key(decoder_, index, kSelfProbabilities))
                                          : causal_attention(q, k, v, rows, math_);
             },
             [&](int64_t, const at::Tensor& q) {
                 return drops_attention()
                            ? dropped_attention(q, cross.keys, cross.values, rows, memory_rows, false,
                                                dropout_.attention, key(decoder_, index, kCrossProbabilities))
                            : row_attention(q, cross.keys, cross.values, rows, memory_rows, math_);
             }});
    };
    for (int64_t i = 0; i < config_.decoder_layers; ++i) {
        if (states) states->push_back(x);
        if (checkpoints())
            x = checkpointed(
                [layer, i, targets, sources](const at::Tensor& both) {
                    return layer(i, both.narrow(0, 0, targets), both.narrow(0, targets, sources));
                },
                at::cat({x, memory}, 0));
        else
            x = layer(i, x, memory);
    }
    return x;
}

at::Tensor BartModel::logits(const at::Tensor& h) {
    at::Tensor out = linear_product(h, shared_);
    return (biased_logits_ ? out + logits_bias_ : out).to(at::kFloat);
}

at::Tensor BartModel::loss(const at::Tensor& h, const at::Tensor& labels, const at::Tensor& scale) {
    const at::Tensor kept = (labels >= 0).nonzero().squeeze(1); // the other places need no output layer
    at::Tensor states = h.index_select(0, kept), weight = shared_;
    if (biased_logits_) { // the bias is a further column of the weight, met by a state of ones
        states = at::cat({states, at::ones({states.size(0), 1}, states.options())}, 1);
        weight = at::cat({shared_, logits_bias_.unsqueeze(1)}, 1);
    }
    return linear_cross_entropy(states, weight, {labels.index_select(0, kept), scale.index_select(0, kept)});
}

} // namespace dorabench
