#pragma once
// What every form of an operator must satisfy, as objects: a name and a function over a device. The same
// cases run on the CPU (ctest: cases_on_cpu) and on a GPU (ctest -L gpu), each against float64 on the CPU. No
// test framework, so that they build on a bare GPU machine.
#include "backends/ops/aten.h"
#include <functional>
#include <string>
#include <vector>

namespace dorabench::cases {

class Report {
public:
    // ||got - want|| <= tolerance ||want||, shapes equal, no NaN; want in float64 on the CPU
    void close(const std::string& what, const at::Tensor& got, const at::Tensor& want, double tolerance);
    void same(const std::string& what, const at::Tensor& got, const at::Tensor& want); // bit for bit
    void expect(bool truth, const std::string& what);
    const std::vector<std::string>& failures() const { return failures_; }
    double worst() const { return worst_; } // the largest error as a part of its tolerance
    int64_t comparisons() const { return comparisons_; }

private:
    std::vector<std::string> failures_;
    double worst_ = 0;
    int64_t comparisons_ = 0;
};

struct Case {
    std::string name;
    std::function<void(Report&, at::Device)> run;
};

std::vector<Case> op_cases(); // every operator, values and gradients, odd shapes, float32, bfloat16, float16
std::vector<Case> adapter_cases(); // adapted linears against the reference, and their laws
std::vector<Case> model_cases();   // a small LLaMA: logits, loss, gradients, a training run

// A tensor of float64 normals on the CPU, from a stream of its own.
at::Tensor normal(at::IntArrayRef shape, uint64_t seed);
double tolerance_of(at::ScalarType type); // of a value after one rounding: 2e-6, 6e-3, 1e-3

} // namespace dorabench::cases
