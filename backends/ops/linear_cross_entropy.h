#pragma once
// The output layer and its loss in one: sum over rows n with labels[n] >= 0 of -scale[n] log
// softmax(hidden[n] W^T)[labels[n]]. Works over chunks of rows, so that [N, V] never exists; float32 behind
// the product whatever the dtype (as the reference code's `logits.float()`). Gradients are made chunk by
// chunk in the forward pass while the logits are at hand, which costs no second product with W; the backward
// pass only multiplies by the incoming gradient.
#include "backends/ops/aten.h"

namespace dorabench {

struct CrossEntropyRows {
    at::Tensor labels; // int64 [N], on hidden's device; negative: the row bears no loss
    at::Tensor scale;  // float32 [N], a factor for each row's loss; undefined: 1
};

// hidden [N, C], weight [V, C] -> scalar, float32 (float64 for float64 input); differentiable in both.
// chunk_rows 0: chosen so that a chunk's logits take about 32 MiB (256 on a GPU). A label >= V is refused; on
// a GPU, where the host does not wait to look, the loss is NaN.
at::Tensor linear_cross_entropy(const at::Tensor& hidden, const at::Tensor& weight,
                                const CrossEntropyRows& rows, int64_t chunk_rows = 0);
// log_softmax over the whole [N, V].
at::Tensor linear_cross_entropy_ref(const at::Tensor& hidden, const at::Tensor& weight,
                                    const CrossEntropyRows& rows);

} // namespace dorabench
