#pragma once
// A backend and an adapter small enough to be read at once, with real autograd, for the tests of the training
// loop: a causal language model whose context is the running mean of its document's embeddings, with two
// linear sites; LoRA or DoRA on both.
#include "adapters/adapter_set.h"
#include "backends/ops/tensor_io.h"
#include "harness/api/backend.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/rng.h"
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

namespace dorabench::test {

inline at::Tensor random_tensor(std::vector<int64_t> shape, double scale, Rng& rng) {
    at::Tensor out = at::empty(shape, at::kFloat);
    for (int64_t i = 0; i < out.numel(); ++i) out.data_ptr<float>()[i] = float(scale * rng.normal());
    return out;
}

inline at::Tensor ids_tensor(const Ids& ids) { return at::tensor(at::ArrayRef<int64_t>(ids), at::kLong); }

class ToyBackend final : public Backend {
public:
    static constexpr int64_t kVocab = 11, kWidth = 6, kHidden = 7;

    explicit ToyBackend(uint64_t seed = 1, at::ScalarType dtype = at::kFloat) {
        Rng rng(seed, "toy-backend");
        embedding_ = random_tensor({kVocab, kWidth}, 0.8, rng).to(dtype);
        const at::Tensor up = random_tensor({kHidden, kWidth}, 0.5, rng).to(dtype);
        const at::Tensor down = random_tensor({kWidth, kHidden}, 0.5, rng).to(dtype);
        up_ = std::make_unique<LinearSite>("model.layers.0.up_proj", FrozenLinear(up, {}));
        down_ = std::make_unique<LinearSite>("model.layers.0.down_proj", FrozenLinear(down, {}));
        shapes_.backend = "toy", shapes_.name = "toy", shapes_.vocab = kVocab;
        for (const NamedTensor& p : parameters())
            shapes_.parameters.push_back({p.name, p.tensor.sizes().vec(), p.name != "model.embed.weight"});
    }
    const ModelShapes& shapes() const override { return shapes_; }
    std::vector<LinearSite*> sites() override { return {up_.get(), down_.get()}; }
    std::vector<NamedTensor> parameters() override {
        return {{"model.embed.weight", embedding_},
                {"model.layers.0.up_proj.weight", up_->base().weight()},
                {"model.layers.0.down_proj.weight", down_->base().weight()}};
    }
    EncodedExample encode(const TrainingPair& pair, const EncodeOptions& options) const override {
        EncodedExample out;
        out.input_ids = pair.input_ids, out.labels = pair.labels;
        out.lost_target = int64_t(out.input_ids.size()) > options.max_length;
        return out;
    }
    double loss_weight(const EncodedExample& example) const override {
        double n = 0;
        for (size_t t = 1; t < example.labels.size(); ++t) n += example.labels[t] != kIgnoreLabel;
        return n * example.weight;
    }
    at::Tensor loss_sum(std::span<const EncodedExample> batch) override {
        if (on_loss) on_loss();
        at::Tensor sum = at::zeros({}, at::kFloat);
        for (const EncodedExample& example : batch) {
            const at::Tensor logp = at::log_softmax(logits(example.input_ids, example.segments), -1);
            for (size_t t = 1; t < example.labels.size(); ++t)
                if (example.labels[t] != kIgnoreLabel)
                    sum = sum - logp[int64_t(t) - 1][example.labels[t]] * example.weight;
        }
        return sum * loss_scale;
    }
    void respond(std::span<const Request>, int64_t, const OnResponse&) override {
        throw Error::internal("the toy backend answers no requests");
    }
    at::Tensor probe_logits(const Ids& ids) override { return logits(ids, {}); }
    void set_training(bool) override {}
    void set_gradient_checkpointing(bool) override {}
    const Tokenizer* tokenizer() const override { return nullptr; }

    std::function<void()> on_loss; // called at every forward pass
    float loss_scale = 1;

private:
    at::Tensor logits(const Ids& ids, const std::vector<int64_t>& segments) {
        const at::Tensor e = embedding_.index_select(0, ids_tensor(ids));
        std::vector<at::Tensor> rows;
        size_t segment = 0;
        int64_t start = 0;
        for (int64_t t = 0; t < int64_t(ids.size()); ++t) {
            while (segment < segments.size() && segments[segment] <= t) start = segments[segment++];
            rows.push_back(e[t] + e.slice(0, start, t + 1).mean(0));
        }
        const at::Tensor x = at::stack(rows);
        const at::Tensor y = x + down_->forward(up_->forward(x).tanh());
        return y.to(at::kFloat).matmul(embedding_.to(at::kFloat).t());
    }

    ModelShapes shapes_;
    at::Tensor embedding_;
    std::unique_ptr<LinearSite> up_, down_;
};

// y = g (x W^T + s x A^T B^T), g = m / ||W + s B A|| for DoRA (the norm detached), 1 for LoRA.
class ToyLayer final : public AdapterLayer {
public:
    ToyLayer(const FrozenLinear& base, bool dora, int64_t rank, Rng& rng) {
        A = random_tensor({rank, base.in()}, 0.4, rng).set_requires_grad(true);
        B = at::zeros({base.out(), rank}, at::kFloat).set_requires_grad(true);
        if (dora) m = row_norm(base.weight().to(at::kFloat)).set_requires_grad(true);
    }
    static at::Tensor row_norm(const at::Tensor& weight) { return weight.norm(2, {1}); }
    at::Tensor delta() const { return B.matmul(A) * 2.0; }
    at::Tensor gain(const FrozenLinear& base) const {
        return m / row_norm(base.weight().to(at::kFloat) + delta().detach());
    }
    at::Tensor forward(const at::Tensor& x, const FrozenLinear& base) override {
        if (!enabled) return base.product(x);
        at::Tensor dropped = x.to(at::kFloat);
        if (training && dropout > 0) {
            Rng rng(mask_seed, "toy-dropout");
            at::Tensor mask = at::empty(x.sizes(), at::kFloat);
            for (int64_t i = 0; i < mask.numel(); ++i)
                mask.data_ptr<float>()[i] = rng.uniform() < dropout ? 0 : float(1 / (1 - dropout));
            dropped = dropped * mask;
        }
        const at::Tensor y = base.product(x).to(at::kFloat) + dropped.matmul(A.t()).matmul(B.t()) * 2.0;
        return (m.defined() ? y * gain(base) : y).to(x.scalar_type());
    }
    at::Tensor merged_weight(const FrozenLinear& base) const override {
        const at::Tensor weight = base.weight().to(at::kFloat) + delta();
        return (m.defined() ? weight * gain(base).unsqueeze(1) : weight) + merge_error;
    }
    at::Tensor A, B, m;
    bool enabled = true, training = false;
    double dropout = 0, merge_error = 0;
    uint64_t mask_seed = 0;
};

class ToyAdapter final : public AdapterSet {
public:
    ToyAdapter(Backend& backend, AdapterSettings settings, uint64_t seed) : settings_(std::move(settings)) {
        Rng rng(seed, "toy-adapter");
        for (LinearSite* site : backend.sites()) {
            auto layer =
                std::make_shared<ToyLayer>(site->base(), settings_.method == "dora", settings_.rank, rng);
            layer->dropout = settings_.dropout;
            site->attach(layer);
            sites_.push_back(site), layers_.push_back(layer);
        }
    }
    const AdapterSettings& settings() const override { return settings_; }
    std::vector<TrainableTensor> trainable() override {
        return const_cast<const ToyAdapter*>(this)->tensors();
    }
    void changed() override { ++changes; }
    void begin_micro_batch(uint64_t seed, int64_t step, int64_t micro_batch) override {
        for (size_t i = 0; i < layers_.size(); ++i)
            layers_[i]->mask_seed = stream_seed(seed, cat(step, " ", micro_batch, " ", i));
    }
    void set_training(bool training) override {
        for (auto& layer : layers_) layer->training = training;
    }
    void set_enabled(bool enabled) override {
        for (auto& layer : layers_) layer->enabled = enabled;
    }
    void save(const std::string& folder, const std::string& base_name) const override {
        make_folder(folder);
        std::vector<NamedTensor> out;
        for (const TrainableTensor& t : tensors()) {
            at::Tensor value = t.tensor.detach().clone();
            if (t.group == spoil_group) value.add_(1e-3);
            if (t.group != drop_group) out.push_back({t.name, value});
        }
        write_tensors(folder + "/adapter_model.safetensors", out);
        write_file_atomic(folder + "/adapter_config.json",
                          "{\"base_model_name_or_path\": \"" + base_name + "\"}");
    }
    void load(const std::string& folder) override {
        at::NoGradGuard no_grad;
        std::map<std::string, at::Tensor> by_name;
        for (const NamedTensor& t : read_tensors(folder + "/adapter_model.safetensors"))
            by_name[t.name] = t.tensor;
        for (const TrainableTensor& t : tensors()) {
            if (!by_name.count(t.name)) throw Error::data(folder, ": no tensor \"", t.name, "\"");
            at::Tensor(t.tensor).copy_(by_name[t.name]);
        }
    }
    void for_each_merged(const std::function<void(const std::string&, const at::Tensor&)>& f) const override {
        for (size_t i = 0; i < sites_.size(); ++i)
            f(sites_[i]->path() + ".weight", layers_[i]->merged_weight(sites_[i]->base()));
    }
    void reset_to_identity() override {
        at::NoGradGuard no_grad;
        for (size_t i = 0; i < sites_.size(); ++i) {
            layers_[i]->B.zero_();
            if (layers_[i]->m.defined())
                layers_[i]->m.copy_(ToyLayer::row_norm(sites_[i]->base().weight().to(at::kFloat)));
        }
    }
    std::vector<std::string> dead_rows() const override { return {}; }
    ToyLayer& layer(size_t i) { return *layers_[i]; }

    int changes = 0;
    std::string spoil_group, drop_group; // what save() writes wrongly, or forgets

private:
    std::vector<TrainableTensor> tensors() const {
        std::vector<TrainableTensor> out;
        for (size_t i = 0; i < sites_.size(); ++i) {
            const std::string name = "base_model.model." + sites_[i]->path();
            out.push_back({name + ".lora_A.weight", "lora_A", layers_[i]->A});
            out.push_back({name + ".lora_B.weight", "lora_B", layers_[i]->B});
            if (layers_[i]->m.defined())
                out.push_back({name + ".lora_magnitude_vector", "magnitude", layers_[i]->m});
        }
        return out;
    }
    AdapterSettings settings_;
    std::vector<LinearSite*> sites_;
    std::vector<std::shared_ptr<ToyLayer>> layers_;
};

inline AdapterSettings toy_adapter(const std::string& method = "dora", double dropout = 0) {
    AdapterSettings s;
    s.method = method, s.rank = 2, s.alpha = 4, s.dropout = dropout;
    return s;
}

inline TrainSettings toy_settings() {
    TrainSettings s;
    s.max_steps = 12, s.batch_size = 4, s.micro_batch_size = 2, s.learning_rate = 1e-2;
    s.warmup_steps = 2, s.weight_decay = 0.01, s.save_every = 3;
    return s;
}

inline std::vector<EncodedExample> toy_examples(int64_t n, uint64_t seed = 5) {
    Rng rng(seed, "toy-data");
    std::vector<EncodedExample> out;
    for (int64_t i = 0; i < n; ++i) {
        EncodedExample e;
        e.index = i;
        const auto length = int64_t(3 + rng.below(6)), masked = int64_t(rng.below(2));
        for (int64_t t = 0; t < length; ++t) {
            e.input_ids.push_back(
                t == 0 ? 1 : (e.input_ids.back() * 3 + int64_t(rng.below(2))) % ToyBackend::kVocab);
            e.labels.push_back(t <= masked ? kIgnoreLabel : e.input_ids.back());
        }
        out.push_back(e);
    }
    return out;
}

} // namespace dorabench::test
