#pragma once
// A checkpoint's linear weights as sites for an adapter, straight from its mapped files: enough to merge and
// to compare weights tensor by tensor, for any family and without room for a second model. It computes no
// forward pass.
#include "adapters/adapter_set.h"
#include "backends/io/safetensors.h"
#include "harness/cli/commands.h"
#include <set>

namespace dorabench {

class CheckpointSites final : public Backend {
public:
    // Which weights are linear is the backend's word where the checkpoint is of a known family, else every
    // matrix "….weight" but embeddings, and every convolution's kernel, as the matrix [out, in h w]. Weights that the checkpoint holds in NF4 are sites on these; with
    // `quantise` every linear weight but the head's is put into NF4 first. Error::data for other integer weights.
    CheckpointSites(const std::string& folder, const Registry<BackendFactory>& backends, bool quantise = false);
    const std::map<std::string, std::shared_ptr<const Nf4Weight>>& packed() const { return packed_; } // by name
    const std::set<std::string>& convolutions() const { return convolutions_; } // paths of sites that are kernels
    const Checkpoint& checkpoint() const { return checkpoint_; }

    const ModelShapes& shapes() const override { return shapes_; }
    std::vector<LinearSite*> sites() override;
    std::vector<NamedTensor> parameters() override { return parameters_; }
    EncodedExample encode(const TrainingPair&, const EncodeOptions&) const override;
    double loss_weight(const EncodedExample&) const override;
    at::Tensor loss_sum(std::span<const EncodedExample>) override;
    void respond(std::span<const Request>, int64_t, const OnResponse&) override;
    at::Tensor probe_logits(const Ids&) override;
    void set_training(bool) override {}
    void set_gradient_checkpointing(bool) override {}
    const Tokenizer* tokenizer() const override { return nullptr; }

private:
    Checkpoint checkpoint_;
    ModelShapes shapes_;
    std::map<std::string, std::shared_ptr<const Nf4Weight>> packed_;
    std::set<std::string> convolutions_;
    std::vector<std::unique_ptr<LinearSite>> sites_;
    std::vector<NamedTensor> parameters_;
};

// The family's name where config.json tells one that is registered; "" otherwise.
std::string known_family(const std::string& folder, const Registry<BackendFactory>& backends);

} // namespace dorabench
