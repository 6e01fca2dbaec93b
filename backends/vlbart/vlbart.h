#pragma once
// The BART and VL-BART backend itself; backend.h has the factory alone, so that what registers it sees no
// tensor.
#include "backends/nn/generation_defaults.h"
#include "backends/vlbart/decoder.h"
#include "backends/vlbart/text.h"

namespace dorabench {

// Options (backend.options): visual: image | video makes a VL-BART of a plain BART checkpoint; what the file
// lacks is drawn from the seed and reported. dropout: p in place of the three that config.json states
// (VL-T5's
// --dropout). Loss: an example is either the mean of its own tokens (VL-T5's
// VQA, GQA and NLVR2: mean over the sample's target, times its weight, then the mean over samples), so that
// it counts 1, or each of its tokens counts 1 (HF's mean over all unmasked tokens of the batch), times the
// weight. EncodedExample::loss_mean says which; automatic: the mean of its own where it has visual features
// or a weight other than 1.
class VlbartBackend final : public Backend {
public:
    VlbartBackend(const BackendSettings& settings, uint64_t seed);
    const ModelShapes& shapes() const override { return shapes_; }
    std::vector<LinearSite*> sites() override { return model_->sites(); }
    std::vector<NamedTensor> parameters() override { return model_->parameters(); }
    EncodedExample encode(const TrainingPair& pair, const EncodeOptions& options) const override;
    double loss_weight(const EncodedExample& example) const override;
    at::Tensor loss_sum(std::span<const EncodedExample> batch) override;
    void respond(std::span<const Request> requests, int64_t batch_size, const OnResponse& done) override;
    // The encoder reads ids, the decoder the same shifted right by its start token.
    at::Tensor probe_logits(const Ids& ids) override;
    void set_training(bool training) override { model_->set_training(training); }
    void set_gradient_checkpointing(bool on) override { model_->set_gradient_checkpointing(on); }
    const Tokenizer* tokenizer() const override { return tokenizer_.get(); }
    std::string config_json() const override { return config_text_; }
    BartModel& model() { return *model_; }
    const std::vector<std::string>& drawn() const { return drawn_; } // tensors that the checkpoint lacked

private:
    void respond_scores(std::span<const Request> requests, std::span<const size_t> which, int64_t batch_size,
                        const OnResponse& done);
    void respond_texts(std::span<const Request> requests, std::span<const size_t> which, int64_t batch_size,
                       const OnResponse& done);
    BartVocabulary vocabulary() const { return {tokenizer_.get(), &model_->config(), checkpoint_}; }

    ModelShapes shapes_;
    std::unique_ptr<BartModel> model_;
    std::unique_ptr<Tokenizer> tokenizer_;
    GenerateOptions defaults_;
    std::string checkpoint_, config_text_;
    std::vector<std::string> drawn_;
};

} // namespace dorabench
