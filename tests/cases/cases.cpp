#include "tests/cases/cases.h"
#include "harness/base/error.h"
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randn.h>
#include <algorithm>

namespace dorabench::cases {

void Report::close(const std::string& what, const at::Tensor& got, const at::Tensor& want, double tolerance) {
    ++comparisons_;
    if (!got.defined() || got.sizes() != want.sizes()) {
        failures_.push_back(cat(what, ": expected shape ", want.sizes(), ", got ",
                                got.defined() ? cat(got.sizes()) : std::string("nothing")));
        return;
    }
    if (want.numel() == 0) return;
    const at::Tensor wide = got.detach().cpu().to(at::kDouble), right = want.detach().cpu().to(at::kDouble);
    const double scale = std::max(1e-30, right.pow(2).sum().sqrt().item<double>());
    const double error = (wide - right).pow(2).sum().sqrt().item<double>() / scale;
    if (error <= tolerance) { // NaN is not
        worst_ = std::max(worst_, error / tolerance);
        return;
    }
    failures_.push_back(cat(what, ": expected a relative error of at most ", tolerance, ", got ", error));
}

void Report::same(const std::string& what, const at::Tensor& got, const at::Tensor& want) {
    expect(got.defined() && want.defined() && got.scalar_type() == want.scalar_type() &&
               got.cpu().equal(want.cpu()),
           what + ": expected the same bits");
}

void Report::expect(bool truth, const std::string& what) {
    ++comparisons_;
    if (!truth) failures_.push_back(what);
}

at::Tensor normal(at::IntArrayRef shape, uint64_t seed) {
    return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::TensorOptions(at::kDouble));
}

double tolerance_of(at::ScalarType type) {
    return type == at::kBFloat16 ? 6e-3 : type == at::kHalf ? 1e-3 : 2e-6;
}

} // namespace dorabench::cases
