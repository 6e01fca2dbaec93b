#pragma once
// Random tensors and whole-tensor comparisons for tests.
#include "backends/ops/aten.h"
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace dorabench::test {

// A stream of random numbers of its own for every test.
inline at::Generator generator(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }
inline at::Tensor randn(at::IntArrayRef shape, at::Generator& from, at::ScalarType type = at::kDouble) {
    return at::randn(shape, from, at::TensorOptions(at::kDouble)).to(type);
}

inline double largest(const at::Tensor& t) {
    return t.numel() == 0 ? 0.0 : t.to(at::kDouble).abs().max().item<double>();
}
// Largest difference, as a part of the largest entry of `expected` (of 1 where that is 0). NaN anywhere: NaN.
inline double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
    if (actual.numel() == 0 && expected.numel() == 0) return 0;
    const double scale = largest(expected);
    return largest(actual.to(at::kDouble) - expected.to(at::kDouble)) / (scale > 0 ? scale : 1.0);
}

inline ::testing::AssertionResult close(const at::Tensor& actual, const at::Tensor& expected,
                                        double tolerance) {
    if (!actual.defined() || !expected.defined())
        return ::testing::AssertionFailure() << (actual.defined() ? "expected" : "actual") << " is undefined";
    if (actual.sizes() != expected.sizes())
        return ::testing::AssertionFailure() << "shapes " << actual.sizes() << " and " << expected.sizes();
    const double error = relative_error(actual, expected);
    if (error <= tolerance) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "relative error " << error << ", tolerance " << tolerance;
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
    return a.defined() && b.defined() && a.scalar_type() == b.scalar_type() && a.equal(b);
}

} // namespace dorabench::test
