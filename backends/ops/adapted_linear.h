#pragma once
// One adapted linear layer, or several over the same x, as a single autograd node.
//   y = g * (x W^T + s h B^T) + b,   h = x A^T,   g = m / c      (m absent: g = 1, which is LoRA)
// W [out, in] and b [out] belong to the base; A [r, in], B [out, r], m [out] to the adapter; c [out] is the
// row norm of W + s B A (dora_norm.h), a constant for the gradient unless full_norm_grad (arXiv:2402.09353,
// section 4.3). VeRA (arXiv:2310.11454): A and B are frozen and shared, lambda_d [r] scales the columns of h,
// lambda_b [out] the rows of B.
//
// Saved for backward: x, h, g and y (which its consumer mostly keeps anyway; so y must not be changed in
// place).
//   dz = dy * g   P = s dz B   dx = dz W + P A   dA = P^T x   dB = s dz^T h   dm = colsum(dy * (y - b)) / m
// Full norm gradient, with q = -g dm / c: what V = W + s B A receives is q_i V_i, i.e. dB += s q * (U + s B
// G) and dA += s (q * B)^T W + s^2 (B^T (q * B)) A; the product with W rides along as r more rows of dz W.
//
// Sites over one x: their A's make one product x [A_1; A_2; …]^T (VeRA's shared A0 a single one), dx is
// summed in place.
#include "backends/ops/aten.h"
#include "backends/ops/dropout.h"
#include "backends/ops/nf4.h"
#include <span>
#include <vector>

namespace dorabench {

enum class DropoutForm {
    adapter, // on the low-rank path alone: h = dropout(x) A^T
    input,   // NVlabs' and HF PEFT's: y = x W^T + (g - 1) * (x~ W^T) + g * s x~ A^T B^T + b; with a magnitude
             // this costs a second base product each way; without one it is the same as `adapter`
};

// What the product needs of one site, with all that changes once an optimiser step prepared by the caller.
struct AdaptedSite {
    at::Tensor weight, bias; // W [out, in], b [out] or undefined; the bias may require a gradient, W must not
    std::shared_ptr<const Nf4Weight> packed; // W in 4 bits: `weight` is undefined then
    // W as a matrix; of a packed one the shared buffer, which the next packed weight overwrites: for use at
    // once.
    at::Tensor dense() const { return packed ? packed->dense() : weight; }
    int64_t out() const { return packed ? packed->out : weight.size(0); }
    int64_t in() const { return packed ? packed->in : weight.size(1); }
    at::ScalarType dtype() const { return packed ? packed->dtype : weight.scalar_type(); }
    // Leaves, which receive the gradients (undefined where the method has none).
    at::Tensor lora_A, lora_B;     // [r, in], [out, r], float32
    at::Tensor lambda_d, lambda_b; // VeRA: [r], [out], float32
    at::Tensor magnitude;          // [out], float32
    // As used in the products, in W's dtype: lora_A and lora_B rounded, or VeRA's projections. Both or
    // neither.
    at::Tensor down, up; // [r, in], [out, r]
    double scaling = 1;
    // With a magnitude: c and g, [out], float32 (float64 for a float64 W).
    at::Tensor norm, gain;
    at::Tensor
        weak_rows; // int64 indices of rows whose gain is too small to get z back from y; undefined: none
    at::Tensor cross, gram; // full_norm_grad: W down^T [out, r] and down down^T [r, r]
    bool full_norm_grad = false;
    double dropout = 0; // p, now (0 outside training)
    DropoutForm form = DropoutForm::input;
    DropoutKey key;
};

// Gains up to this are too small to get z back from y.
inline double weak_gain(bool has_bias) { return has_bias ? 1e-3 : 0.0; }
// Indices of the rows for AdaptedSite::weak_rows. Undefined for none, and on a GPU, where the backward pass
// finds them by itself.
at::Tensor find_weak_rows(const at::Tensor& gain, bool has_bias);

// x [..., in] -> one [..., out] a site, in order. A site without adapter (neither down nor magnitude) is a
// plain product.
std::vector<at::Tensor> adapted_linear(std::span<const AdaptedSite* const> sites, const at::Tensor& x);

} // namespace dorabench
