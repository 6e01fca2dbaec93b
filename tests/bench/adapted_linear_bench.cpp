// One adapted linear, forward and backward, T = 512 tokens, rank 16: what DoRA costs beside LoRA and beside
// the frozen product alone; at VL-BART's shapes (rank 128, T = a batch's tokens) beside the materialised form
// too, which builds W + s B A in every step and leaves its norm and product to autograd. Compare minima of
// interleaved repetitions, never single runs:
//   adapted_linear_bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=7
#include "backends/ops/adapted_linear.h"
#include "backends/ops/dora_norm.h"
#include "backends/ops/references.h"
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <algorithm>
#include <benchmark/benchmark.h>

namespace dorabench {
namespace {

enum Method { kFrozen, kLora, kDora, kDoraSameStep, kDoraDropout, kDoraFull, kMaterialised };

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
    site.full_norm_grad = method == kDoraFull || method == kMaterialised;
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
        const NormTerms terms = dora_norm(site.weight, w2, site.down, site.up, site.scaling);
        site.norm = terms.norm, site.cross = terms.cross, site.gram = terms.gram;
        site.gain = dora_gain(site.magnitude, site.norm);
        site.weak_rows = find_weak_rows(site.gain, false);
    };
    prepare();
    const at::Tensor x = at::randn({tokens, in}).set_requires_grad(true), dy = at::randn({tokens, out});
    for (auto _ : state) {
        if (method == kMaterialised) {
            ref::adapted_linear(site, x).backward(dy);
        } else {
            if (method != kDoraSameStep) prepare();
            adapted_linear({&one, 1}, x)[0].backward(dy);
        }
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

void timed(benchmark::internal::Benchmark* bench) {
    bench->ArgNames({"out", "in", "T", "r"})->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(1);
    bench->ComputeStatistics(
        "min", [](const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); });
}

void shapes(benchmark::internal::Benchmark* bench) {
    bench->Args({4096, 4096, 512, 16})->Args({11008, 4096, 512, 16})->Args({4096, 11008, 512, 16});
    timed(bench);
}

void bart_shapes(benchmark::internal::Benchmark* bench) {
    bench->Args({768, 768, 560, 128})->Args({768, 768, 4480, 128}); // 10 and 80 rows of 20 words and 36 boxes
    timed(bench);
}

BENCHMARK_CAPTURE(adapted, frozen, kFrozen)->Apply(shapes);
BENCHMARK_CAPTURE(adapted, lora, kLora)->Apply(shapes);
BENCHMARK_CAPTURE(adapted, dora, kDora)->Apply(shapes);
BENCHMARK_CAPTURE(adapted, dora_same_step, kDoraSameStep)->Apply(shapes);
BENCHMARK_CAPTURE(adapted, dora_dropout, kDoraDropout)->Apply(shapes);
BENCHMARK(norm_alone)->Apply(shapes);
BENCHMARK_CAPTURE(adapted, bart_lora, kLora)->Apply(bart_shapes);
BENCHMARK_CAPTURE(adapted, bart_dora, kDora)->Apply(bart_shapes);
BENCHMARK_CAPTURE(adapted, bart_dora_full, kDoraFull)->Apply(bart_shapes);
BENCHMARK_CAPTURE(adapted, bart_materialised, kMaterialised)->Apply(bart_shapes);

} // namespace
} // namespace dorabench
