#pragma once
// The LLaVA backend itself; llava.h has the factory alone, so that what registers it sees no tensor.
#include "backends/llama/model.h"
#include "backends/llava/images.h"
#include "backends/llava/prefixes.h"
#include "backends/llava/prompt.h"

namespace dorabench {

// y = W2 gelu(W1 x + b1) + b2, from the image encoder's width to the decoder's.
struct Projector {
    at::Tensor weight1, bias1, weight2, bias2; // biases may be undefined
    at::Tensor forward(const at::Tensor& features) const;
    bool trainable() const;
};

class LlavaBackend final : public Backend {
public:
    LlavaBackend(const BackendSettings& settings, uint64_t seed);
    const ModelShapes& shapes() const override { return shapes_; }
    std::vector<LinearSite*> sites() override { return model_->sites(); }
    std::vector<NamedTensor> parameters() override;
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
    ImageFeatures& images() { return *images_; }
    const Projector& projector() const { return projector_; }
    // Projected patches of each file, [P, C] each: with gradients where the projector is trained (then what
    // is cached lies before it), else cached behind it.
    std::vector<at::Tensor> image_embeddings(std::span<const std::string> files);
    at::Tensor embed(std::span<const int64_t> codes, const ImageBook& book); // [N] -> [N, C]
    int64_t prefilled() const { return prefilled_; } // codes that prompts cost so far, for tests and timing

private:
    struct Prompt {
        Codes codes;
        Ids continuation, history;
    };
    Prompt prepare(const Request& request, int64_t new_tokens, ImageBook& book, Response& response) const;
    void respond_scores(std::span<const Request> requests, std::span<const size_t> which, int64_t batch_size,
                        const OnResponse& done);
    void respond_texts(std::span<const Request> requests, std::span<const size_t> which, int64_t batch_size,
                       const OnResponse& done);
    LlavaVocabulary vocabulary() const;
    at::Tensor to_device(std::span<const int64_t> values) const;

    LlavaConfig config_;
    ModelShapes shapes_;
    std::unique_ptr<LlamaModel> model_;
    Projector projector_;
    std::unique_ptr<ImageFeatures> images_;
    std::unique_ptr<Tokenizer> tokenizer_;
    GenerateOptions defaults_;
    std::string checkpoint_, config_text_;
    std::vector<NamedTensor> vision_; // the image encoder's tensors, for counting and writing
    bool input_gradients_ = false;
    int64_t prefilled_ = 0;
};

} // namespace dorabench
