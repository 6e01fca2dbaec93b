#pragma once
// BART's own dropout while training: hidden (embeddings, and what every attention and feed-forward part
// adds), attention (the probabilities) and activation (behind the gelu). A mask is a function of (seed, site,
// element): drawn again in backward and in a checkpoint's recompute instead of being stored. The seed is
// drawn once a forward pass from torch's generator, which the trainer sets from (run's seed, step,
// micro-batch), so that a resumed run meets the same masks.
#include "backends/ops/dropout.h"

namespace dorabench {

struct ModelDropout {
    double hidden = 0, attention = 0, activation = 0;
    uint64_t seed = 0;
    bool any() const { return hidden > 0 || attention > 0 || activation > 0; }
};

// D x, differentiable; x itself where p is 0.
at::Tensor model_dropout(const at::Tensor& x, double p, const DropoutKey& key);
// A seed for one forward pass, out of torch's default generator.
uint64_t draw_dropout_seed();

} // namespace dorabench
