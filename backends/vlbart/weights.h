#pragma once
// The weights of BART and VL-BART: out of a checkpoint or drawn from a seed.
#include "backends/nn/weights.h"
#include "backends/vlbart/config.h"

namespace dorabench {

struct BartWeights {
    Weights tensors;                // by the names of bart_shapes()
    at::Tensor logits_bias;         // [V]; zeros where the checkpoint has none
    std::vector<std::string> drawn; // what the checkpoint lacks and was drawn from the seed
};

BartWeights random_bart_weights(uint64_t seed, const BartConfig& config, const WeightOptions& options);
// folder: of a checkpoint for `stated`, its own config.json. Where `config` is larger (with_visual of the
// stated one), the further rows of the embedding and the visual tensors that the file lacks are drawn from
// the seed (N(0, 0.02), biases 0, norm weights 1) and listed. Names with and without the leading "model.";
// any of the tied copies of the embedding will do. Error::data as load_weights.
BartWeights load_bart_weights(const std::string& folder, const BartConfig& stated, const BartConfig& config,
                              uint64_t seed, const WeightOptions& options);

} // namespace dorabench
