#include "harness/cli/bench_ops.h"
#include "backends/ops/adamw.h"
#include "backends/ops/adapted_linear.h"
#include "backends/ops/compose.h"
#include "backends/ops/device.h"
#include "backends/ops/dora_norm.h"
#include "backends/ops/linear_cross_entropy.h"
#include "backends/ops/product.h"
#include "backends/ops/rms_norm.h"
#include "backends/ops/rope.h"
#include "backends/ops/swiglu.h"
#include "harness/base/progress.h"
#include "harness/base/text.h"
#include "harness/train/device_memory.h"
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <chrono>
#include <functional>
#include <set>

namespace dorabench {
namespace {

using nlohmann::ordered_json;

double seconds_of(const at::Device& device, const std::function<void()>& work) {
    synchronize(device);
    const auto start = std::chrono::steady_clock::now();
    work();
    synchronize(device);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Op {
    std::string name;
    std::vector<int64_t> shape;
    double flops, bytes;
    std::function<void()> run;
};

// Makes the operands of a model's ops, and the ops over them.
class OpList {
public:
    OpList(const ModelShapes& shapes, const BenchOptions& options, const at::Device& device,
           at::ScalarType type)
        : shapes_(shapes), tokens_(options.tokens), rank_(options.rank), size_(double(at::elementSize(type))),
          options_(at::TensorOptions(type).device(device)) {}

    std::vector<Op> linears(int64_t out, int64_t in) const;
    std::vector<Op> others() const;

private:
    at::Tensor random(std::vector<int64_t> size) const { return at::randn(size, options_) * 0.02; }
    AdaptedSite site(int64_t out, int64_t in, bool dora, const at::Tensor& weight) const;

    const ModelShapes& shapes_;
    int64_t tokens_, rank_;
    double size_; // bytes of an element
    at::TensorOptions options_;
};

AdaptedSite OpList::site(int64_t out, int64_t in, bool dora, const at::Tensor& weight) const {
    AdaptedSite site;
    const at::TensorOptions wide = options_.dtype(at::kFloat);
    site.weight = weight;
    site.lora_A = (at::randn({rank_, in}, wide) * 0.02).set_requires_grad(true);
    site.lora_B = (at::randn({out, rank_}, wide) * 0.02).set_requires_grad(true);
    site.down = site.lora_A.detach().to(weight.scalar_type());
    site.up = site.lora_B.detach().to(weight.scalar_type());
    site.scaling = 2;
    if (!dora) return site;
    site.norm = dora_norm(weight, squared_row_norms(weight), site.down, site.up, 2).norm;
    site.magnitude = site.norm.clone().set_requires_grad(true);
    site.gain = dora_gain(site.magnitude, site.norm);
    return site;
}

std::vector<Op> OpList::linears(int64_t out, int64_t in) const {
    const double T = double(tokens_), o = double(out), i = double(in), r = double(rank_);
    const at::Tensor weight = random({out, in}), x = random({tokens_, in}), dy = random({tokens_, out});
    const at::Tensor w2 = squared_row_norms(weight);
    const double product = 2 * T * o * i, moved = (T * i + o * i + T * o) * size_;
    std::vector<Op> ops;
    ops.push_back({"linear", {out, in}, product, moved, [=] { product_nt(x, weight); }});
    const AdaptedSite lora = site(out, in, false, weight), dora = site(out, in, true, weight);
    ops.push_back({"dora_norm", {out, in}, 2 * o * i * r, o * i * size_, [=] {
                       dora_norm(weight, w2, dora.down, dora.up, 2);
                   }});
    for (const auto& [name, site] : {std::pair("lora_linear", lora), std::pair("dora_linear", dora)}) {
        // forward, dx, and the low-rank products both ways; dy and, for the magnitude, y are read once more
        ops.push_back({name,
                       {out, in},
                       2 * product + 6 * T * r * (o + i),
                       2 * moved + (site.magnitude.defined() ? 2 * T * o * size_ : 0),
                       [=] {
                           at::AutoGradMode recording(true);
                           const at::Tensor leaf = x.detach().requires_grad_(true);
                           const AdaptedSite* one = &site;
                           adapted_linear({&one, 1}, leaf)[0].backward(dy);
                           for (const at::Tensor* t : {&site.lora_A, &site.lora_B, &site.magnitude})
                               if (t->defined()) at::Tensor(*t).mutable_grad() = at::Tensor();
                       }});
    }
    return ops;
}

std::vector<Op> OpList::others() const {
    const int64_t C = shapes_.hidden, F = shapes_.intermediate, V = shapes_.vocab, H = shapes_.heads,
                  D = shapes_.head_dim;
    const double T = double(tokens_), row = T * double(C) * size_;
    const auto with_backward = [](std::function<at::Tensor(const at::Tensor&)> f, const at::Tensor& x,
                                  const at::Tensor& dy) {
        return [=] {
            at::AutoGradMode recording(true);
            f(x.detach().requires_grad_(true)).backward(dy);
        };
    };
    std::vector<Op> ops;
    const at::Tensor x = random({tokens_, C}), dy = random({tokens_, C}), scale = random({C});
    ops.push_back({"rms_norm",
                   {tokens_, C},
                   0,
                   5 * row,
                   with_backward([=](const at::Tensor& v) { return rms_norm(v, scale, 1e-6); }, x, dy)});
    const at::Tensor gate = random({tokens_, F}), up = random({tokens_, F}), dh = random({tokens_, F});
    ops.push_back({"swiglu",
                   {tokens_, F},
                   0,
                   7 * T * double(F) * size_,
                   with_backward([=](const at::Tensor& v) { return swiglu(v, up); }, gate, dh)});
    const at::TensorOptions wide = options_.dtype(at::kFloat);
    const RopeTable table = make_rope_table(at::ones({D / 2}, wide), tokens_);
    const at::Tensor q = random({tokens_, H, D}), dq = random({tokens_, H, D}),
                     positions = at::arange(tokens_, options_.dtype(at::kLong));
    ops.push_back({"rope",
                   {tokens_, H, D},
                   0,
                   4 * T * double(H * D) * size_,
                   with_backward([=](const at::Tensor& v) { return rope(v, table, positions); }, q, dq)});
    const at::Tensor h = random({tokens_, rank_}), B = random({C, rank_}), gain = at::ones({C}, wide);
    ops.push_back({"low_rank_compose", {tokens_, C}, 2 * T * double(C * rank_), 2 * row, [=] {
                       at::Tensor z = x;
                       low_rank_compose_(z, h, B, 1e-3, gain, {});
                   }});
    ops.push_back({"scale_and_reduce", {tokens_, C}, 0, 3 * row, [=] {
                       at::Tensor dz = at::empty_like(dy);
                       scale_and_reduce(dy, x, gain, {}, dz);
                   }});
    const at::Tensor head = random({V, C}), labels = at::randint(0, V, {tokens_}, options_.dtype(at::kLong));
    ops.push_back(
        {"linear_cross_entropy", {V, C}, 4 * T * double(V * C), 2 * double(V * C) * size_ + 2 * row, [=] {
             at::AutoGradMode recording(true);
             linear_cross_entropy(x.detach().requires_grad_(true), head, {labels, {}}).backward();
         }});
    const int64_t n = 4 << 20;
    std::vector<at::Tensor> p;
    for (int k = 0; k < 4; ++k) p.push_back(at::ones({n}, wide));
    ops.push_back(
        {"adamw", {n}, 0, 28.0 * double(n), [=] { adamw_step({p[0]}, {p[1]}, {p[2]}, {p[3]}, {}, 1); }});
    return ops;
}

ordered_json measure(const Op& op, const BenchOptions& options, const at::Device& device,
                     const Roofline& roofline) {
    std::vector<double> times;
    for (int64_t i = 0; i < options.warmup + options.steps; ++i) {
        const double seconds = seconds_of(device, op.run);
        if (i >= options.warmup) times.push_back(seconds);
    }
    const double least = *std::min_element(times.begin(), times.end());
    std::nth_element(times.begin(), times.begin() + int64_t(times.size() / 2), times.end());
    const double median = times[times.size() / 2];
    const bool compute = op.flops / roofline.flops_per_second > op.bytes / roofline.bytes_per_second;
    return {{"kind", "op"},
            {"op", op.name},
            {"shape", op.shape},
            {"seconds", median},
            {"seconds_min", least},
            {"flops", op.flops},
            {"bytes", op.bytes},
            {"roofline_fraction", roofline.seconds(op.flops, op.bytes) / median},
            {"bound", compute ? "compute" : "memory"}};
}

} // namespace

double product_flops_per_second(const at::Device& device, at::ScalarType type) {
    at::NoGradGuard no_grad;
    const int64_t n = device.is_cuda() ? 8192 : 2048;
    const at::TensorOptions options = at::TensorOptions(type).device(device);
    const at::Tensor a = at::ones({n, n}, options), b = at::ones({n, n}, options);
    double product = 1e30;
    for (int i = 0; i < 4; ++i) product = std::min(product, seconds_of(device, [&] { product_nt(a, b); }));
    return 2.0 * double(n) * double(n) * double(n) / product;
}

Roofline measure_roofline(const at::Device& device, at::ScalarType type) {
    at::NoGradGuard no_grad;
    const int64_t m = int64_t(device.is_cuda() ? 1024 : 128) << 20;
    const at::TensorOptions bytes = at::TensorOptions(at::kByte).device(device);
    const at::Tensor from = at::ones({m}, bytes);
    at::Tensor to = at::ones({m}, bytes);
    double copy = 1e30;
    for (int i = 0; i < 4; ++i) copy = std::min(copy, seconds_of(device, [&] { to.copy_(from); }));
    return {product_flops_per_second(device, type), 2.0 * double(m) / copy};
}

std::vector<ordered_json> bench_ops(const ModelShapes& shapes, const BenchOptions& options,
                                    const at::Device& device, at::ScalarType type, const Roofline& roofline) {
    at::NoGradGuard no_grad;
    const OpList list(shapes, options, device, type);
    std::set<std::pair<int64_t, int64_t>> sizes;
    for (const ParameterShape& p : shapes.parameters)
        if (p.linear && p.shape.size() == 2) sizes.insert({p.shape[0], p.shape[1]});
    std::vector<ordered_json> lines;
    Progress progress("ops", int64_t(sizes.size()) + 1);
    int64_t done = 0;
    const auto run = [&](const std::vector<Op>& ops) {
        for (const Op& op : ops) lines.push_back(measure(op, options, device, roofline));
        progress.update(++done, "");
    };
    for (const auto& [out, in] : sizes) run(list.linears(out, in));
    run(list.others());
    return lines;
}

} // namespace dorabench
