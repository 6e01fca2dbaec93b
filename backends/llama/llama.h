#pragma once
// The LLaMA backend itself; backend.h has the factory alone, so that what registers it sees no tensor.
#include "backends/llama/model.h"
#include "backends/nn/causal_text.h"
#include "backends/nn/generation_defaults.h"

namespace dorabench {

class LlamaBackend final : public Backend {
public:
    LlamaBackend(const BackendSettings& settings, uint64_t seed);
    const ModelShapes& shapes() const override { return shapes_; }
    std::vector<LinearSite*> sites() override { return model_->sites(); }
    std::vector<NamedTensor> parameters() override { return model_->parameters(); }
    EncodedExample encode(const TrainingPair& pair, const EncodeOptions& options) const override;
    double loss_weight(const EncodedExample& example) const override;
    at::Tensor loss_sum(std::span<const EncodedExample> batch) override;
    void respond(std::span<const Request> requests, int64_t batch_size, const OnResponse& done) override;
    at::Tensor probe_logits(const Ids& ids) override;
    void set_training(bool training) override { model_->set_training(training); }
    void set_gradient_checkpointing(bool on) override { model_->set_gradient_checkpointing(on); }
    void set_input_gradients(bool on) override { input_gradients_ = on; }
    const Tokenizer* tokenizer() const override { return tokenizer_.get(); }
    std::string config_json() const override { return config_text_; }
    LlamaModel& model() { return *model_; }

private:
    void respond_scores(std::span<const Request> requests, std::span<const size_t> which, int64_t batch_size,
                        const OnResponse& done);
    void respond_texts(std::span<const Request> requests, std::span<const size_t> which, int64_t batch_size,
                       const OnResponse& done);
    CausalVocabulary vocabulary() const;

    ModelShapes shapes_;
    std::unique_ptr<LlamaModel> model_;
    std::unique_ptr<Tokenizer> tokenizer_;
    GenerateOptions defaults_;
    std::string checkpoint_, config_text_;
    bool input_gradients_ = false;
};

} // namespace dorabench
