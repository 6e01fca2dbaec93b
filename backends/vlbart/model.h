#pragma once
// BART over packed tokens [N, d]: no batch dimension, no padding. Layers are post-norm:
//   encoder: h = LN(x + out(attention(x))),  y = LN(h + fc2(gelu(fc1(h))));   decoder: a cross-attention with
//   its norm between the two.
// Every projection of the attentions and of the feed-forward parts is a LinearSite, so that adapters can
// attach. The output layer is the embedding plus final_logits_bias. While training, BART's own dropout
// (model_dropout.h) falls where HF's and VL-T5's does; new_dropout() draws the masks of the next pass.
#include "backends/nn/attention.h"
#include "backends/ops/linear_site.h"
#include "backends/vlbart/model_dropout.h"
#include "backends/vlbart/visual.h"
#include <functional>
#include <memory>

namespace dorabench {

struct BartSource { // what the encoder reads
    Ids ids;
    VisualInput visual; // behind the text; pooled
    int64_t length() const { return static_cast<int64_t>(ids.size()) + visual.rows(); }
};

class BartModel {
public:
    // weights: by the names of bart_shapes(); logits_bias [V]
    BartModel(const BartConfig& config, const Weights& weights, const at::Tensor& logits_bias,
              bool math_attention,
              const PackedWeights& packed = {}); // packed: linear weights in NF4, absent from `weights`

    const BartConfig& config() const { return config_; }
    at::Device device() const { return shared_.device(); }
    at::ScalarType dtype() const { return shared_.scalar_type(); }
    bool math_attention() const { return math_; }
    std::vector<LinearSite*> sites(); // in checkpoint order
    std::vector<NamedTensor> parameters();

    // The encoder's input and its last states [sum of lengths, d]; rows: of each source. states: each layer's
    // input.
    at::Tensor encoder_input(std::span<const BartSource* const> sources);
    at::Tensor encode(std::span<const BartSource* const> sources, std::vector<PackedRow>& rows,
                      std::vector<at::Tensor>* states = nullptr);
    const VisualEmbedding* visual() const { return visual_.get(); }

    at::Tensor decoder_input(const at::Tensor& ids, const at::Tensor& positions) const; // [N] -> [N, d]
    struct KeysValues {
        at::Tensor keys, values; // [N, H, D]
    };
    KeysValues cross_keys_values(int64_t layer, const at::Tensor& memory); // of the encoder's states
    // What one decoder layer attends to: q, k, v [N, H, D] -> [N, d]; cross is given q alone.
    struct DecoderAttention {
        std::function<at::Tensor(int64_t layer, const at::Tensor& q, const at::Tensor& k,
                                 const at::Tensor& v)>
            self;
        std::function<at::Tensor(int64_t layer, const at::Tensor& q)> cross;
    };
    at::Tensor decode(at::Tensor x, const DecoderAttention& attention);
    // decode() of whole targets: row i is causal within itself and sees all of memory_rows[i].
    // Differentiable.
    at::Tensor decode_rows(at::Tensor x, std::vector<PackedRow> rows, const at::Tensor& memory,
                           std::vector<PackedRow> memory_rows, std::vector<at::Tensor>* states = nullptr);

    at::Tensor logits(const at::Tensor& h); // [n, d] -> [n, V] float32
    // Sum of scale[n] * -log p(labels[n]) over places with labels >= 0; labels int64 [N], scale float32 [N].
    at::Tensor loss(const at::Tensor& h, const at::Tensor& labels, const at::Tensor& scale);

    void set_training(bool on) { training_ = on; }
    void new_dropout();
    void set_gradient_checkpointing(bool on) { checkpointing_ = on; }

private:
    struct Norm {
        std::string path;
        at::Tensor weight, bias;
        at::Tensor operator()(const at::Tensor& x) const;
    };
    struct Attention {
        std::unique_ptr<LinearSite> k, v, q, out;
        Norm norm;
    };
    struct Layer {
        Attention self, cross; // cross: the decoder's
        std::unique_ptr<LinearSite> fc1, fc2;
        Norm norm;
    };
    struct Side { // encoder or decoder
        std::string path;
        at::Tensor positions;
        std::vector<Layer> layers;
        Norm embedding_norm;
        int64_t heads = 0;
    };
    Side make_side(const std::string& path, const Weights& weights, const PackedWeights& packed) const;
    at::Tensor embed(const Side& side, const at::Tensor& ids, const at::Tensor& positions) const;
    // Places where masks fall within a side: 0 the embeddings, then kPlaces a layer.
    enum Place : uint32_t {
        kSelfProbabilities = 1,
        kSelfOut,
        kCrossProbabilities,
        kCrossOut,
        kActivation,
        kOut,
        kPlaces
    };
    DropoutKey key(const Side& side, int64_t layer, uint32_t place) const;
    at::Tensor drop(const at::Tensor& x, const Side& side, int64_t layer, Place place) const;
    bool drops_attention() const { return training_ && dropout_.attention > 0; }
    at::Tensor feed_forward(Side& side, int64_t index, const at::Tensor& x);
    at::Tensor encoder_layer(int64_t index, const at::Tensor& x, std::span<const PackedRow> rows);
    at::Tensor decoder_layer(int64_t index, const at::Tensor& x, const DecoderAttention& attention);
    at::Tensor heads_of(const at::Tensor& x, int64_t heads) const { return x.view({x.size(0), heads, -1}); }
    bool checkpoints() const;

    BartConfig config_;
    at::Tensor shared_, logits_bias_; // [V, d], [V]
    Side encoder_, decoder_;
    std::unique_ptr<VisualEmbedding> visual_; // null: plain BART
    std::vector<NamedTensor> visual_parameters_;
    ModelDropout dropout_;
    bool biased_logits_ = false, math_ = false, training_ = false, checkpointing_ = false;
};

} // namespace dorabench
