// NF4 on the CPU: a weight of LLaMA-7B into a matrix (bytes: those written), and the product of few rows with
// it, straight from the codes and by way of the matrix. scripts/bench_nf4 sets bitsandbytes beside it.
#include "backends/ops/nf4_product.h"
#include "backends/ops/product.h"
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

namespace dorabench {
namespace {

constexpr int64_t kOut = 11008, kIn = 4096;

at::ScalarType type_of(const benchmark::State& state) { return state.range(0) ? at::kBFloat16 : at::kFloat; }

void dequantise(benchmark::State& state) {
    const auto weight = nf4_quantise(at::randn({kOut, kIn}).to(type_of(state)), true);
    weight->dense(); // the buffer is there, as in a model
    for (auto _ : state) {
        weight->buffer->holds = 0;
        benchmark::DoNotOptimize(weight->dense());
    }
    state.SetBytesProcessed(state.iterations() * kOut * kIn * int64_t(at::elementSize(type_of(state))));
}
BENCHMARK(dequantise)
    ->Name("dequantise/bfloat16:")
    ->Arg(0)
    ->Arg(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void few_rows(benchmark::State& state) {
    const auto weight = nf4_quantise(at::randn({kOut, kIn}).to(type_of(state)), true);
    const at::Tensor x = at::randn({state.range(1), kIn}).to(type_of(state));
    at::NoGradGuard no_grad;
    if (state.range(2) && !nf4_product(*weight, x).defined())
        return state.SkipWithError("by way of the matrix");
    for (auto _ : state) {
        weight->buffer->holds = 0;
        benchmark::DoNotOptimize(state.range(2) ? nf4_product(*weight, x)
                                                : linear_product(x, weight->dense()));
    }
}
BENCHMARK(few_rows)
    ->Name("product/bfloat16:/rows:/codes:")
    ->ArgsProduct({{0, 1}, {1, 4}, {0, 1}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

} // namespace
} // namespace dorabench

BENCHMARK_MAIN();
