#include "backends/ops/adamw.h"
#include "backends/ops/compose.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/dora_norm.h"
#include "backends/ops/dropout.h"
#include "backends/ops/kernel_math.h"
#include "backends/ops/linear_cross_entropy.h"
#include "backends/ops/nf4_product.h"
#include "backends/ops/references.h"
#include "backends/ops/rms_norm.h"
#include "backends/ops/rope.h"
#include "backends/ops/swiglu.h"
#include "harness/base/error.h"
#include "tests/cases/cases.h"
#include <ATen/ops/matmul.h>
#include <ATen/ops/randint.h>
#include <cmath>

namespace dorabench::cases {
namespace {

using Function = std::function<at::Tensor(const std::vector<at::Tensor>&)>;
constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

// op on the device in `type` against ref in float64 on the same (rounded) inputs; values and gradients.
// slack: how many roundings the operator makes in between.
void compare(Report& report, const std::string& what, const Function& op, const Function& ref,
             const std::vector<at::Tensor>& inputs, at::ScalarType type, at::Device device,
             double slack = 1) {
    std::vector<at::Tensor> narrow, wide;
    for (const at::Tensor& x : inputs) {
        narrow.push_back(x.to(type).to(device).requires_grad_(true));
        wide.push_back(x.to(type).to(at::kDouble).requires_grad_(true));
    }
    const double tolerance = slack * tolerance_of(type);
    const std::string name = cat(what, " ", type);
    const at::Tensor y = op(narrow), want = ref(wide);
    report.close(name, y, want, tolerance);
    const at::Tensor up = normal(want.sizes(), 77).to(y.scalar_type());
    y.backward(up.to(device));
    want.backward(up.to(at::kDouble));
    for (size_t i = 0; i < inputs.size(); ++i)
        report.close(cat(name, ", gradient ", i), narrow[i].grad(), wide[i].grad(), tolerance);
    at::NoGradGuard no_grad;
    report.same(name + " without a graph", op(narrow), y.detach());
}

void rms_norm_case(Report& report, at::Device device) {
    for (auto type : kTypes)
        for (int64_t width : {5, 37, 64, 768, 4099})
            for (int64_t rows : {1, 5, 67})
                compare(
                    report, cat("rms_norm ", rows, "x", width),
                    [](auto& x) { return rms_norm(x[0], x[1], 1e-6); },
                    [](auto& x) { return rms_norm_ref(x[0], x[1], 1e-6); },
                    {normal({rows, width}, 1), normal({width}, 2)}, type, device, 2);
    report.expect(rms_norm(at::zeros({0, 8}, device), at::ones({8}, device), 1e-6).numel() == 0,
                  "rms_norm of no rows");
}

void rope_case(Report& report, at::Device device) {
    for (auto type : kTypes)
        for (int64_t half : {5, 8, 32, 64}) {
            const at::Tensor angles = normal({half}, 3).abs().to(at::kFloat);
            const RopeTable table = make_rope_table(angles, 300);
            const RopeTable here{table.cos.to(device), table.sin.to(device)};
            // the table is rounded to x's dtype first
            const RopeTable wide{table.cos.to(type).to(at::kDouble), table.sin.to(type).to(at::kDouble)};
            const at::Tensor positions = at::randint(0, 300, {9}, at::kLong);
            const int64_t d = 2 * half;
            compare(
                report, cat("rope D=", d),
                [&](auto& x) {
                    return rope(x[0].narrow(1, d, 3 * d).view({9, 3, d}), here, positions.to(device));
                },
                [&](auto& x) {
                    return rope_ref(x[0].narrow(1, d, 3 * d).view({9, 3, d}), wide, positions);
                },
                {normal({9, 5 * d}, 4)}, type, device, 2);
        }
}

void swiglu_case(Report& report, at::Device device) {
    for (auto type : kTypes)
        for (int64_t width : {1, 37, 64, 1000})
            for (double scale : {1.0, 20.0})
                compare(
                    report, cat("swiglu 13x", width, " scale ", scale),
                    [](auto& x) { return swiglu(x[0].narrow(1, 0, x[1].size(1)), x[1]); }, // strided rows
                    [](auto& x) { return swiglu_ref(x[0].narrow(1, 0, x[1].size(1)), x[1]); },
                    {normal({13, 2 * width}, 5) * scale, normal({13, width}, 6)}, type, device, 2);
}

void cross_entropy_case(Report& report, at::Device device) {
    at::Tensor labels = at::randint(0, 41, {23}, at::kLong);
    labels[0] = -100, labels[7] = -100, labels[22] = -100;
    const at::Tensor scale = normal({23}, 7).abs().to(at::kFloat);
    for (auto type : kTypes)
        for (const at::Tensor& weights : {at::Tensor(), scale})
            for (int64_t vocab : {41, 64, 1003})
                for (int64_t chunk : {0, 4, 64}) {
                    const CrossEntropyRows here{labels.to(device),
                                                weights.defined() ? weights.to(device) : weights};
                    const CrossEntropyRows there{labels, weights};
                    compare(
                        report,
                        cat("linear_cross_entropy V=", vocab, " chunk ", chunk,
                            weights.defined() ? " scaled" : ""),
                        [&](auto& x) { return linear_cross_entropy(x[0], x[1], here, chunk); },
                        [&](auto& x) { return linear_cross_entropy_ref(x[0], x[1], there); },
                        {normal({23, 19}, 8), normal({vocab, 19}, 9) * 0.3}, type, device, 3);
                }
    const CrossEntropyRows none{at::full({3}, -100, at::TensorOptions(at::kLong).device(device)),
                                at::Tensor()};
    const at::Tensor hidden = at::ones({3, 4}, device), weight = at::ones({5, 4}, device);
    report.expect(linear_cross_entropy(hidden, weight, none).item<double>() == 0,
                  "without labels the loss is 0");
    const CrossEntropyRows outside{at::full({3}, 5, at::TensorOptions(at::kLong).device(device)),
                                   at::Tensor()};
    bool refused = false;
    try {
        refused = std::isnan(linear_cross_entropy(hidden, weight, outside).item<double>());
    } catch (const c10::Error&) {
        refused = true;
    }
    report.expect(refused, "a label outside the vocabulary is refused, or gives NaN on a GPU");
}

void compose_case(Report& report, at::Device device) {
    for (auto type : kTypes)
        for (int64_t rows : {1, 9, 67, 515})
            for (int64_t out : {1, 31, 257, 264, 1024}) {
                const std::string at = cat(" ", rows, "x", out, " ", type);
                const at::Tensor z = normal({rows, out}, 10).to(type), dy = normal({rows, out}, 11).to(type),
                                 g = normal({out}, 12).to(at::kFloat), b = normal({out}, 13).to(at::kFloat);
                const at::Tensor wz = z.to(at::kDouble), wd = dy.to(at::kDouble), wg = g.to(at::kDouble),
                                 wb = b.to(at::kDouble);
                at::Tensor both = z.to(device, type, false, true), gain = both.clone(), bias = both.clone();
                compose_(both, g.to(device), b.to(device));
                compose_(gain, g.to(device), {});
                compose_(bias, {}, b.to(device));
                const double tolerance = tolerance_of(type);
                report.close("compose g z + b" + at, both, wz * wg + wb, tolerance);
                report.close("compose g z" + at, gain, wz * wg, tolerance);
                report.close("compose z + b" + at, bias, wz + wb, tolerance);
                const at::Tensor h = normal({rows, 16}, 14).to(type), up = normal({out, 16}, 15).to(type);
                at::Tensor low = z.to(device, type, false, true);
                low_rank_compose_(low, h.to(device), up.to(device), 0.25, g.to(device), b.to(device));
                report.close("low-rank compose" + at, low,
                             wg * (wz + 0.25 * at::mm(h.to(at::kDouble), up.to(at::kDouble).t())) + wb,
                             4 * tolerance);
                at::Tensor dz = at::full({rows, out}, NAN, z.options().device(device));
                const at::Tensor sum =
                    scale_and_reduce(dy.to(device), z.to(device), g.to(device), b.to(device), dz);
                report.close("scale_and_reduce dz" + at, dz, wd * wg, tolerance);
                report.close("scale_and_reduce sum" + at, sum, (wd * (wz - wb)).sum(0), 2e-5);
                at::Tensor nothing;
                report.same(
                    "scale_and_reduce without dz" + at,
                    scale_and_reduce(dy.to(device), z.to(device), g.to(device), b.to(device), nothing), sum);
            }
}

void dropout_case(Report& report, at::Device device) {
    const DropoutKey key{.seed = 9, .step = 4, .micro_batch = 1, .site = 6};
    for (auto type : kTypes)
        for (int64_t n : {1, 3, 8, 63, 64, 1001, 70000}) {
            at::Tensor x = at::ones({n}, type), here = x.to(device, type, false, true);
            dropout_(x, 0.3, key);
            dropout_(here, 0.3, key);
            report.same(cat("dropout's mask, ", n, " elements ", type), here, x);
            // a buffer that does not start at 16 bytes
            at::Tensor longer = at::ones({n + 1}, at::TensorOptions(type).device(device)),
                       part = longer.narrow(0, 1, n);
            dropout_(part, 0.3, key);
            report.same(cat("dropout's mask, unaligned, ", n, " elements ", type), part, x);
        }
}

void dora_norm_case(Report& report, at::Device device) {
    for (auto type : kTypes)
        for (int64_t rank : {1, 5, 33})
            for (int64_t in : {1, 37, 264}) {
                const int64_t out = 67;
                const std::string at = cat(" r=", rank, " in=", in, " ", type);
                at::Tensor w = normal({out, in}, 14).to(type), a = normal({rank, in}, 15).to(type),
                           b = (normal({out, rank}, 16) * 0.3).to(type);
                w[3].zero_(), b[3].zero_();   // a dead row
                b[5].zero_(), b[5][0] = -0.5; // a row that W + s B A cancels, s = 2
                w[5].copy_(a[0]);
                const at::Tensor want =
                    ref::row_norms(w.to(at::kDouble) + 2 * at::mm(b.to(at::kDouble), a.to(at::kDouble)));
                const at::Tensor weight = w.to(device), w2 = squared_row_norms(weight);
                report.close("squared_row_norms" + at, w2, w.to(at::kDouble).pow(2).sum(1), 1e-12);
                const NormTerms terms = dora_norm(weight, w2, a.to(device), b.to(device), 2);
                report.close("dora_norm" + at, terms.norm, want, 2e-6);
                report.expect(std::abs(terms.norm[5].item<double>() - want[5].item<double>()) < 1e-5,
                              "cancelling row" + at);
                report.expect(terms.norm[3].item<double>() == 0, "dead row" + at);
                report.expect(dora_gain(at::zeros({out}, device), terms.norm)[3].item<double>() == 0,
                              "gain of a dead row" + at);
                report.close("W A^T" + at, terms.cross, at::mm(w.to(at::kDouble), a.to(at::kDouble).t()),
                             2e-6);
            }
}

void adamw_case(Report& report, at::Device device) {
    std::vector<at::Tensor> params, grads, first, second;
    std::vector<std::vector<at::Tensor>> wide;
    for (int64_t n : {1, 7, 1000}) {
        const at::Tensor p = normal({n}, 17).to(at::kFloat);
        params.push_back(p.to(device, at::kFloat, false, true));
        first.push_back(at::zeros({n}, params.back().options()));
        second.push_back(at::zeros({n}, params.back().options()));
        wide.push_back({p.to(at::kDouble), at::zeros({n}, at::kDouble), at::zeros({n}, at::kDouble)});
    }
    const AdamwOptions options{.lr = 1e-2, .weight_decay = 0.1};
    for (int64_t step = 1; step <= 4; ++step) {
        grads.clear();
        for (size_t i = 0; i < params.size(); ++i) {
            const at::Tensor grad = normal(params[i].sizes(), 18 + uint64_t(step)).to(at::kFloat);
            grads.push_back(grad.to(device));
            ref::adamw_step(wide[i][0], grad.to(at::kDouble), wide[i][1], wide[i][2], options, step);
        }
        adamw_step(params, grads, first, second, options, step);
    }
    for (size_t i = 0; i < params.size(); ++i)
        report.close(cat("adamw, ", params[i].numel(), " parameters"), params[i], wide[i][0], 1e-6);
}

// CUDA alone: there is no CPU form.
void nf4_case(Report& report, at::Device device) {
    const CudaKernels* cuda = device.is_cuda() ? cuda_kernels() : nullptr;
    if (!cuda) return;
    const float table[16] = {DORABENCH_NF4_TABLE};
    for (auto type : kTypes)
        for (int64_t n : {1, 8, 63, 64, 1000, 4096}) {
            const at::Tensor codes = at::randint(0, 256, {(n + 1) / 2}, at::kByte),
                             absmax = normal({(n + 63) / 64}, 19).abs().to(at::kFloat);
            at::Tensor want = at::empty({n}, at::kFloat);
            for (int64_t i = 0; i < n; ++i)
                want.mutable_data_ptr<float>()[i] =
                    table[nf4_code(codes.const_data_ptr<uint8_t>()[i / 2], int(i % 2))] *
                    absmax.const_data_ptr<float>()[i / 64];
            at::Tensor y = at::full({n}, NAN, at::TensorOptions(type).device(device));
            cuda->nf4_dequantise(codes.to(device), absmax.to(device), 64, y);
            report.same(cat("nf4_dequantise ", n, " ", type), y, want.to(type));
        }
}

// On the CPU's own form too.
void nf4_product_case(Report& report, at::Device device) {
    for (auto type : kTypes)
        for (const auto& [out, in] : {std::pair<int64_t, int64_t>{5, 64}, {130, 192}, {33, 4096}}) {
            auto packed = nf4_quantise(normal({out, in}, 23).to(type).to(device), true);
            for (const int64_t rows : {1, 8, 13, 32}) {
                const at::Tensor x = normal({rows, in}, 29).to(type);
                const at::Tensor y = nf4_product(*packed, x.to(device));
                if (!y.defined()) continue; // one product with the decoded weight
                const at::Tensor w = nf4_dequantise(*packed, type).cpu().to(at::kDouble);
                report.close(cat("nf4_product ", rows, "x", in, "x", out, " ", type), y,
                             at::matmul(x.to(at::kDouble), w.t()), tolerance_of(type));
            }
        }
}

} // namespace

std::vector<Case> op_cases() {
    return {{"rms_norm", rms_norm_case},
            {"rope", rope_case},
            {"swiglu", swiglu_case},
            {"linear_cross_entropy", cross_entropy_case},
            {"compose", compose_case},
            {"dropout", dropout_case},
            {"dora_norm", dora_norm_case},
            {"adamw", adamw_case},
            {"nf4", nf4_case},
            {"nf4_product", nf4_product_case}};
}

} // namespace dorabench::cases
