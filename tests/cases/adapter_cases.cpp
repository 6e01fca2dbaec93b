#include "backends/ops/adapted_linear.h"
#include "backends/ops/compose.h"
#include "backends/ops/dora_norm.h"
#include "backends/ops/references.h"
#include "harness/base/error.h"
#include "tests/cases/cases.h"
#include <ATen/ops/mm.h>
#include <cmath>

namespace dorabench::cases {
namespace {

enum class Kind { lora, dora, dora_full, magnitude, vera, dvora };
constexpr const char* kNames[] = {"lora", "dora", "dora_full", "magnitude", "vera", "dvora"};

void prepare(AdaptedSite& site) {
    if (!site.magnitude.defined()) return;
    const at::Tensor w2 = squared_row_norms(site.weight);
    if (!site.down.defined()) {
        site.norm = w2.sqrt().to(accumulate_type(site.weight.scalar_type()));
    } else {
        const auto wide = accumulate_type(site.weight.scalar_type());
        at::Tensor down = site.down, up = site.up;
        if (site.lambda_b.defined()) {
            down = site.lambda_d.detach().to(wide).unsqueeze(1) * down.to(wide);
            up = site.lambda_b.detach().to(wide).unsqueeze(1) * up.to(wide);
        }
        site.norm = dora_norm(site.weight, w2, down, up, site.scaling).norm;
        site.cross = weight_times_down(site.weight, site.down);
        site.gram = at::mm(site.down.to(wide), site.down.to(wide).t());
    }
    site.gain = dora_gain(site.magnitude, site.norm);
    site.weak_rows = find_weak_rows(site.gain, site.bias.defined());
}

// The site in `type` on the device; the adapter's tensors are float32 (float64 in a float64 site) and hold
// values that `type` can say, so that both sides compute with the same numbers.
AdaptedSite make_site(Kind kind, int64_t in, int64_t out, int64_t rank, bool bias, at::ScalarType type,
                      at::ScalarType rounded, at::Device device) {
    AdaptedSite site;
    const auto own = type == at::kDouble ? at::kDouble : at::kFloat;
    auto exact = [&](const at::Tensor& x) { return x.to(rounded); };
    auto leaf = [&](const at::Tensor& x) { return exact(x).to(own).to(device).set_requires_grad(true); };
    site.weight = exact(normal({out, in}, 31) / std::sqrt(double(in))).to(type).to(device);
    if (bias) site.bias = exact(normal({out}, 32)).to(type).to(device).set_requires_grad(true);
    const at::Tensor a = normal({rank, in}, 33) * 0.5, b = normal({out, rank}, 34) * 0.5;
    if (kind == Kind::vera || kind == Kind::dvora) {
        site.down = exact(a).to(type).to(device), site.up = exact(b).to(type).to(device);
        site.lambda_d = leaf(normal({rank}, 35)), site.lambda_b = leaf(normal({out}, 36));
    } else if (kind != Kind::magnitude) {
        site.scaling = 1.5;
        site.lora_A = leaf(a), site.lora_B = leaf(b);
        site.down = site.lora_A.detach().to(type), site.up = site.lora_B.detach().to(type);
    }
    if (kind != Kind::lora && kind != Kind::vera) {
        at::Tensor m = normal({out}, 37).abs() + 0.5;
        if (out > 4) m[out / 2] = 0; // z of this column cannot be had from y
        site.magnitude = leaf(m);
    }
    site.full_norm_grad = kind == Kind::dora_full;
    prepare(site);
    return site;
}

std::vector<at::Tensor> leaves(const AdaptedSite& site, const at::Tensor& x) {
    std::vector<at::Tensor> all{x};
    for (const at::Tensor& t :
         {site.lora_A, site.lora_B, site.lambda_d, site.lambda_b, site.magnitude, site.bias})
        if (t.defined()) all.push_back(t);
    return all;
}

at::Tensor run(const AdaptedSite& site, const at::Tensor& x) {
    const AdaptedSite* one = &site;
    return adapted_linear({&one, 1}, x)[0];
}

void compare(Report& report, at::Device device, Kind kind, at::ScalarType type, int64_t tokens, int64_t in,
             int64_t out, int64_t rank, bool bias, double p, DropoutForm form) {
    AdaptedSite site = make_site(kind, in, out, rank, bias, type, type, device);
    AdaptedSite wide = make_site(kind, in, out, rank, bias, at::kDouble, type, at::kCPU);
    site.dropout = p, site.form = form, wide.form = form;
    site.key = {.seed = 1, .step = 2, .micro_batch = 3, .site = 4};
    const at::Tensor x0 = normal({tokens, in}, 38).to(type), dy = normal({tokens, out}, 39).to(type);
    const at::Tensor x = x0.to(device).detach().requires_grad_(true),
                     wx = x0.to(at::kDouble).requires_grad_(true);
    const at::Tensor mask = p > 0 ? dropped(at::ones(x.sizes(), at::kDouble), p, site.key) : at::Tensor();
    const at::Tensor y = run(site, x), want = ref::adapted_linear(wide, wx, mask);
    const std::string name = cat(kNames[size_t(kind)], " ", tokens, "x", in, "->", out, " r=", rank, " ",
                                 type, " p=", p, form == DropoutForm::input ? " input" : "");
    const double tolerance = type == at::kFloat ? 1e-5 : 4 * tolerance_of(type);
    report.close(name, y, want, tolerance);
    y.backward(dy.to(device));
    want.backward(dy.to(at::kDouble));
    const auto got = leaves(site, x), right = leaves(wide, wx);
    for (size_t i = 0; i < got.size(); ++i)
        report.close(cat(name, ", gradient ", i), got[i].grad(), right[i].grad(), 2 * tolerance);
}

void against_reference(Report& report, at::Device device) {
    for (Kind kind : {Kind::lora, Kind::dora, Kind::dora_full, Kind::magnitude, Kind::vera, Kind::dvora})
        for (auto type : {at::kFloat, at::kBFloat16}) {
            compare(report, device, kind, type, 7, 13, 11, 3, true, 0, DropoutForm::adapter);
            compare(report, device, kind, type, 67, 40, 257, 7, false, 0, DropoutForm::adapter);
            compare(report, device, kind, type, 64, 64, 128, 16, false, 0, DropoutForm::adapter);
            if (kind == Kind::magnitude) continue;
            compare(report, device, kind, type, 33, 24, 40, 8, true, 0.4, DropoutForm::adapter);
            compare(report, device, kind, type, 33, 24, 40, 8, true, 0.4, DropoutForm::input);
        }
}

// With m = c the gain is 1 and DoRA is LoRA; a group of sites is what its members are alone.
void laws(Report& report, at::Device device) {
    AdaptedSite dora = make_site(Kind::dora, 24, 40, 8, false, at::kFloat, at::kFloat, device);
    AdaptedSite lora = make_site(Kind::lora, 24, 40, 8, false, at::kFloat, at::kFloat, device);
    {
        at::NoGradGuard no_grad;
        dora.magnitude.copy_(dora.norm);
        prepare(dora);
    }
    const at::Tensor x = normal({19, 24}, 40).to(at::kFloat).to(device);
    report.close("dora with m = c is lora", run(dora, x), run(lora, x), 1e-6);
    AdaptedSite full = make_site(Kind::dora_full, 24, 40, 8, true, at::kFloat, at::kFloat, device);
    const AdaptedSite* all[] = {&dora, &lora, &full};
    const auto together = adapted_linear(all, x);
    for (size_t i = 0; i < 3; ++i)
        report.close(cat("site ", i, " in a group"), together[i], run(*all[i], x), 1e-6);
    const at::Tensor merged = ref::effective_weight(full).detach();
    const at::Tensor scaled = (full.magnitude / ref::row_norms(merged)).unsqueeze(1) * merged;
    report.close("the merged weight gives the same", run(full, x), at::linear(x, scaled, full.bias), 1e-5);
    report.same("twice the same bits", run(full, x), run(full, x));
}

} // namespace

std::vector<Case> adapter_cases() { return {{"adapted_linear", against_reference}, {"adapter_laws", laws}}; }

} // namespace dorabench::cases
