#pragma once
// A backbone's weights by their names: out of a checkpoint, every name and shape checked, or drawn from a
// seed.
#include "backends/nn/frozen_linear.h"
#include "harness/api/backend.h"
#include "harness/api/settings.h"
#include <functional>

namespace dorabench {

// Linear weights but the head's go into 4 bits, one after another, so that the 16-bit model is never held
// whole. Weights that a checkpoint holds in NF4 already stay as they are.
struct PackOptions {
    PackedWeights* into = nullptr; // null: a backbone that knows no packed weights
    bool quantise = false;         // false: only what is in NF4 already
    bool double_quant = true;
};
// What backend.quantization asks for; Error::config where it is neither none nor nf4.
PackOptions pack_options(const BackendSettings& settings, PackedWeights& into);

struct WeightOptions {
    at::ScalarType dtype = at::kFloat;
    at::Device device = at::Device(at::kCPU);
    // Names under which a parameter may stand in the file, best first; empty function: its own name alone.
    std::function<std::vector<std::string>(const std::string&)> names;
    // Tensors of the file that nobody needs to read (old rotary tables, a tied output layer's copy); others
    // that no parameter takes are an error.
    std::function<bool(const std::string&)> ignorable;
    PackOptions pack;
};

// On the CPU, parameters that are in `dtype` already stay in the mapped file, whose pages the processes of
// one machine share (a sweep's workers hold one base); a page that is written to, in full fine-tuning,
// becomes the writer's own, never the file's. All others are copied. The file must not be overwritten in
// place meanwhile. Error::data lists what is missing, unexpected, of another shape, or not of a
// floating-point dtype.
Weights load_weights(const std::string& checkpoint, const std::vector<ParameterShape>& parameters,
                     const WeightOptions& options);
// As the originals' initialisation: matrices N(0, std), biases 0, norm weights 1. The bits depend on seed and
// names alone, not on the number of threads.
Weights random_weights(uint64_t seed, const std::vector<ParameterShape>& parameters,
                       const WeightOptions& options, double std = 0.02);

// Fills a float32 CPU tensor with N(0, std) from a counter-based generator.
void fill_normal(at::Tensor& tensor, uint64_t seed, double std);

} // namespace dorabench
