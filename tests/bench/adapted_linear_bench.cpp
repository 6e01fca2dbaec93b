// One adapted linear, forward and backward, T = 512 tokens, rank 16: what DoRA costs beside LoRA and beside
// the frozen product alone. Compare minima of interleaved repetitions, never single runs:
//   adapted_linear_bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=7
#include "backends/ops/adapted_linear.h"
#include "backends/ops/dora_norm.h"
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <algorithm>
#include <benchmark/benchmark.h>

namespace dorabench {
namespace {

enum Method { kFrozen, kLora, kDora, kDoraSameStep, kDoraDropout };

AdaptedSite make_site(int64_t out, int64_t in, int64_t rank, Method method) {
    AdaptedSite site;
    site.weight = at::randn({out, in}) * 0.02;
    if (method == kFrozen) return site;
    site.lora_A = (at::randn({rank, in}) * 0.02).set_requires_grad(true);
    site.lora_B = (at::randn({out, rank}) * 0.02).set_requires_grad(true);
    site.down = site.lora_A.detach();
    site.up = site.lora_B.detach();
    site.scaling = 2;
    if (method == kDoraDropout) site.dropout = 0.05;
    if (method != kLora) site.magnitude = at::ones({out}).set_requires_grad(true);
    return site;
}

// norm: once an optimiser step; kDoraSameStep is a further micro-batch of the same step.
void adapted(benchmark::State& state, Method method) {
    const int64_t out = state.range(0), in = state.range(1), tokens = state.range(2), rank = state.range(3);
    AdaptedSite site = make_site(out, in, rank, method);
    const AdaptedSite* one = &site;
    const at::Tensor w2 = squared_row_norms(site.weight);
    auto prepare = [&] {
        if (!site.magnitude.defined()) return;
        site.norm = dora_norm(site.weight, w2, site.down, site.up, site.scaling).norm;
        site.gain = dora_gain(site.magnitude, site.norm);
        site.weak_rows = find_weak_rows(site.gain, false);
    };
    prepare();
    const at::Tensor x = at::randn({tokens, in}).set_requires_grad(true), dy = at::randn({tokens, out});
    for (auto _ : state) {
        if (method != kDoraSameStep) prepare();
        adapted_linear({&one, 1}, x)[0].backward(dy);
        for (const at::Tensor* leaf :
             std::initializer_list<const at::Tensor*>{&x, &site.lora_A, &site.lora_B, &site.magnitude})
            if (leaf->defined()) at::Tensor(*leaf).mutable_grad() = at::Tensor();
    }
}

void norm_alone(benchmark::State& state) {
    const AdaptedSite site = make_site(state.range(0), state.range(1), state.range(3), kDora);
    const at::Tensor w2 = squared_row_norms(site.weight);
    for (auto _ : state)
        benchmark::DoNotOptimize(
            dora_norm(site.weight, w2, site.down, site.up, site.scaling).norm.const_data_ptr());
}

void shapes(benchmark::internal::Benchmark* bench) {
    bench->Args({4096, 4096, 512, 16})->Args({11008, 4096, 512, 16})->Args({4096, 11008, 512, 16});
    bench->ArgNames({"out", "in", "T", "r"})->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(1);
    bench->ComputeStatistics(
        "min", [](const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); });
}

BENCHMARK_CAPTURE(adapted, frozen, kFrozen)->Apply(shapes);
BENCHMARK_CAPTURE(adapted, lora, kLora)->Apply(shapes);
BENCHMARK_CAPTURE(adapted, dora, kDora)->Apply(shapes);
BENCHMARK_CAPTURE(adapted, dora_same_step, kDoraSameStep)->Apply(shapes);
BENCHMARK_CAPTURE(adapted, dora_dropout, kDoraDropout)->Apply(shapes);
BENCHMARK(norm_alone)->Apply(shapes);

} // namespace
} // namespace dorabench
