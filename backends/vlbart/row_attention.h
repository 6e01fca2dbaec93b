#pragma once
// Attention of packed rows to whole packed rows, without padding: the encoder's own (a row sees all of
// itself) and the decoder's to the encoder's states.
#include "backends/nn/attention.h"
#include "backends/vlbart/model_dropout.h"

namespace dorabench {

// q [N, H, D], k and v [M, H, D] -> [N, H * D]; query row i sees all of key row i. Differentiable. math: as
// causal_attention's.
at::Tensor row_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         std::span<const PackedRow> query_rows, std::span<const PackedRow> key_rows,
                         bool math);

// The same with dropout on the probabilities, p > 0, as written; causal: within a row, a token sees no later
// one.
at::Tensor dropped_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             std::span<const PackedRow> query_rows, std::span<const PackedRow> key_rows,
                             bool causal, double p, DropoutKey key);

} // namespace dorabench
