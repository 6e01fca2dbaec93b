#pragma once
// A backbone small enough for adapter tests: two blocks x + down(tanh([q(x), v(x)])), then a head over 16
// tokens.
#include "backends/ops/linear_site.h"
#include "backends/ops/tensor_io.h"
#include "harness/api/backend.h"
#include "tests/support/tensors.h"
#include <ATen/ops/tanh.h>

namespace dorabench::test {

class TinyBackend final : public Backend {
public:
    // nf4: all linear weights but the head's are quantised; they are no parameters then.
    explicit TinyBackend(at::ScalarType type = at::kFloat, uint64_t seed = 1, bool bias = false,
                         bool nf4 = false)
        : nf4_(nf4) {
        auto from = generator(seed);
        shapes_.backend = "tiny";
        shapes_.name = "tiny";
        embedding_ = randn({16, 8}, from, type);
        add("model.embed_tokens.weight", embedding_, false);
        for (int layer = 0; layer < 2; ++layer) {
            const std::string at = "model.layers." + std::to_string(layer);
            add_site(at + ".self_attn.q_proj", 12, 8, from, type, bias);
            add_site(at + ".self_attn.v_proj", 6, 8, from, type, bias);
            add_site(at + ".mlp.down_proj", 8, 18, from, type, bias);
        }
        norm_ = at::ones({8}, type);
        add("model.norm.weight", norm_, false);
        add_site("lm_head", 16, 8, from, type, false);
        shapes_.parameters.back().head = true;
    }
    const ModelShapes& shapes() const override { return shapes_; }
    std::vector<LinearSite*> sites() override {
        std::vector<LinearSite*> all;
        for (auto& site : sites_) all.push_back(site.get());
        return all;
    }
    std::vector<NamedTensor> parameters() override { return parameters_; }
    at::Tensor forward(const Ids& ids) {
        const at::Tensor rows =
            at::from_blob(const_cast<int64_t*>(ids.data()), {int64_t(ids.size())}, at::kLong).clone();
        at::Tensor x = embedding_.index_select(0, rows);
        for (size_t layer = 0; layer < 2; ++layer) {
            const std::vector<LinearSite*> pair{sites_[3 * layer].get(), sites_[3 * layer + 1].get()};
            x = x + sites_[3 * layer + 2]->forward(at::tanh(at::cat(forward_shared(pair, x), -1)));
        }
        return sites_.back()->forward(x * norm_);
    }
    at::Tensor probe_logits(const Ids& ids) override {
        at::NoGradGuard no_grad;
        return forward(ids).to(at::kFloat);
    }
    EncodedExample encode(const TrainingPair&, const EncodeOptions&) const override { return {}; }
    double loss_weight(const EncodedExample&) const override { return 1; }
    at::Tensor loss_sum(std::span<const EncodedExample>) override {
        return forward({1, 2, 3}).to(at::kFloat).pow(2).sum();
    }
    void respond(std::span<const Request>, int64_t, const OnResponse&) override {}
    void set_training(bool) override {}
    void set_gradient_checkpointing(bool) override {}
    const Tokenizer* tokenizer() const override { return nullptr; }

private:
    void add(const std::string& name, const at::Tensor& tensor, bool linear) {
        ParameterShape shape;
        shape.name = name;
        shape.shape = tensor.sizes().vec();
        shape.linear = linear;
        shapes_.parameters.push_back(shape);
        parameters_.push_back({name, tensor});
    }
    void add_site(const std::string& path, int64_t out, int64_t in, at::Generator& from, at::ScalarType type,
                  bool bias) {
        const at::Tensor weight = (randn({out, in}, from) / std::sqrt(double(in))).to(type);
        const at::Tensor b = bias ? randn({out}, from, type) : at::Tensor();
        if (bias) add(path + ".bias", b, false);
        add(path + ".weight", weight, true);
        if (!nf4_ || path == "lm_head") {
            sites_.push_back(std::make_unique<LinearSite>(path, FrozenLinear(weight, b)));
            return;
        }
        parameters_.pop_back();
        sites_.push_back(
            std::make_unique<LinearSite>(path, FrozenLinear(nf4_quantise(weight, true, buffer_), b)));
    }
    ModelShapes shapes_;
    std::vector<std::unique_ptr<LinearSite>> sites_;
    std::vector<NamedTensor> parameters_;
    at::Tensor embedding_, norm_;
    bool nf4_;
    std::shared_ptr<Nf4Buffer> buffer_ = std::make_shared<Nf4Buffer>();
};

// The linears of a LLaMA checkpoint as sites, without the computation between them.
class CheckpointBackend final : public Backend {
public:
    explicit CheckpointBackend(const std::string& file) {
        shapes_.backend = "llama";
        shapes_.name = file;
        for (const NamedTensor& named : read_tensors(file)) {
            ParameterShape shape;
            shape.name = named.name;
            shape.shape = named.tensor.sizes().vec();
            shape.linear = named.name.find("_proj.weight") != std::string::npos;
            shapes_.parameters.push_back(shape);
            parameters_.push_back(named);
            if (shape.linear)
                sites_.push_back(std::make_unique<LinearSite>(named.name.substr(0, named.name.size() - 7),
                                                              FrozenLinear(named.tensor, {})));
        }
    }
    const ModelShapes& shapes() const override { return shapes_; }
    std::vector<LinearSite*> sites() override {
        std::vector<LinearSite*> all;
        for (auto& site : sites_) all.push_back(site.get());
        return all;
    }
    std::vector<NamedTensor> parameters() override { return parameters_; }
    at::Tensor probe_logits(const Ids&) override { return {}; }
    EncodedExample encode(const TrainingPair&, const EncodeOptions&) const override { return {}; }
    double loss_weight(const EncodedExample&) const override { return 1; }
    at::Tensor loss_sum(std::span<const EncodedExample>) override { return {}; }
    void respond(std::span<const Request>, int64_t, const OnResponse&) override {}
    void set_training(bool) override {}
    void set_gradient_checkpointing(bool) override {}
    const Tokenizer* tokenizer() const override { return nullptr; }

private:
    ModelShapes shapes_;
    std::vector<std::unique_ptr<LinearSite>> sites_;
    std::vector<NamedTensor> parameters_;
};

// Moves every trainable tensor away from its start, the same way each time.
template <typename Set>
void disturb(Set& set, uint64_t seed = 99) {
    at::NoGradGuard no_grad;
    auto from = generator(seed);
    for (auto& part : set.trainable()) {
        const at::Tensor noise = randn(part.tensor.sizes(), from, part.tensor.scalar_type());
        part.tensor.add_(noise, part.group == "magnitude" ? 0.1 : 0.3);
    }
    set.changed();
}

} // namespace dorabench::test
