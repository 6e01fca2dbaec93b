#include "backends/io/safetensors.h"
#include "backends/ops/adapted_linear.h"
#include "backends/ops/dora_norm.h"
#include "backends/ops/linear_site.h"
#include "backends/ops/references.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

enum class Kind { lora, dora, dora_full, magnitude, vera, dvora, dvora_full };
std::string name_of(Kind kind) {
    const char* names[] = {"Lora", "Dora", "DoraFull", "Magnitude", "Vera", "Dvora", "DvoraFull"};
    return names[size_t(kind)];
}

struct Case {
    Kind kind;
    std::vector<int64_t> lead; // leading shape of x
    int64_t in, out, rank;
    bool bias;
};
void PrintTo(const Case& c, std::ostream* os) {
    *os << name_of(c.kind) << " x" << c.lead << " " << c.in << "->" << c.out;
}

bool is_vera(Kind k) { return k == Kind::vera || k == Kind::dvora || k == Kind::dvora_full; }
bool has_magnitude(Kind k) { return k != Kind::lora && k != Kind::vera; }

// Fills what the layer would prepare: norm, gain, the terms of the full gradient.
void prepare(AdaptedSite& site) {
    if (!site.magnitude.defined()) return;
    const at::Tensor w2 = squared_row_norms(site.weight);
    if (!site.down.defined()) {
        site.norm = w2.sqrt().to(site.magnitude.scalar_type());
    } else {
        at::Tensor down = site.down, up = site.up;
        if (site.lambda_b.defined()) {
            down = site.lambda_d.detach().unsqueeze(1) * down;
            up = site.lambda_b.detach().unsqueeze(1) * up;
        }
        site.norm = dora_norm(site.weight, w2, down, up, site.scaling).norm;
        site.cross = weight_times_down(site.weight, site.down);
        site.gram = at::mm(site.down, site.down.t()).to(site.cross.scalar_type());
    }
    site.gain = dora_gain(site.magnitude, site.norm);
    site.weak_rows = find_weak_rows(site.gain, site.bias.defined());
}

AdaptedSite make_site(const Case& c, at::Generator& from, at::ScalarType type = at::kDouble) {
    AdaptedSite site;
    auto leaf = [&](at::Tensor t) { return t.to(type).set_requires_grad(true); };
    site.weight = test::randn({c.out, c.in}, from, type) / std::sqrt(double(c.in));
    if (c.bias) site.bias = leaf(test::randn({c.out}, from));
    const at::Tensor a = test::randn({c.rank, c.in}, from) * 0.5,
                     b = test::randn({c.out, c.rank}, from) * 0.5;
    if (is_vera(c.kind)) {
        site.down = a.to(type);
        site.up = b.to(type);
        site.lambda_d = leaf(test::randn({c.rank}, from));
        site.lambda_b = leaf(test::randn({c.out}, from));
    } else if (c.kind != Kind::magnitude) {
        site.scaling = 1.7;
        site.lora_A = leaf(a);
        site.lora_B = leaf(b);
        site.down = site.lora_A.detach();
        site.up = site.lora_B.detach();
    }
    if (has_magnitude(c.kind)) site.magnitude = leaf(test::randn({c.out}, from).abs() + 0.5);
    site.full_norm_grad = c.kind == Kind::dora_full || c.kind == Kind::dvora_full;
    prepare(site);
    return site;
}

std::vector<at::Tensor> leaves(const AdaptedSite& site) {
    std::vector<at::Tensor> out;
    for (const at::Tensor& t :
         {site.lora_A, site.lora_B, site.lambda_d, site.lambda_b, site.magnitude, site.bias})
        if (t.defined()) out.push_back(t);
    return out;
}

at::Tensor run(const AdaptedSite& site, const at::Tensor& x) {
    const AdaptedSite* one = &site;
    return adapted_linear({&one, 1}, x)[0];
}

std::vector<at::Tensor> gradients(const AdaptedSite& site, const at::Tensor& x, const at::Tensor& y,
                                  const at::Tensor& dy) {
    for (at::Tensor& t : std::vector<at::Tensor>(leaves(site))) t.mutable_grad() = at::Tensor();
    at::Tensor(x).mutable_grad() = at::Tensor();
    y.backward(dy);
    std::vector<at::Tensor> out;
    if (x.requires_grad()) out.push_back(x.grad());
    for (const at::Tensor& t : leaves(site)) out.push_back(t.grad());
    return out;
}

std::vector<int64_t> shape_of(const std::vector<int64_t>& lead, int64_t last) {
    std::vector<int64_t> shape = lead;
    shape.push_back(last);
    return shape;
}

class AdaptedLinear : public ::testing::TestWithParam<Case> {};

TEST_P(AdaptedLinear, EqualsAutogradOfTheReference) {
    const Case c = GetParam();
    for (DropoutForm form : {DropoutForm::adapter, DropoutForm::input})
        for (double p : {0.0, 0.4}) {
            auto from = test::generator(17);
            AdaptedSite site = make_site(c, from);
            site.form = form;
            site.dropout = p;
            site.key = {.seed = 1, .step = 2, .micro_batch = 3, .site = 4};
            const at::Tensor x = test::randn(shape_of(c.lead, c.in), from).set_requires_grad(true);
            const at::Tensor dy = test::randn(shape_of(c.lead, c.out), from);
            const at::Tensor mask =
                p > 0 ? dropped(at::ones(x.sizes(), at::kDouble), p, site.key) : at::Tensor();
            const at::Tensor want = ref::adapted_linear(site, x, mask);
            const auto want_grads = gradients(site, x, want, dy);
            const at::Tensor y = run(site, x);
            ASSERT_TRUE(test::close(y, want, 1e-12)) << "p " << p;
            const auto grads = gradients(site, x, y, dy);
            ASSERT_EQ(grads.size(), want_grads.size());
            for (size_t i = 0; i < grads.size(); ++i)
                EXPECT_TRUE(test::close(grads[i], want_grads[i], 1e-11))
                    << "gradient " << i << " p " << p << " form " << int(form);
        }
}

TEST_P(AdaptedLinear, ComputesParameterGradientsWhenXNeedsNone) {
    const Case c = GetParam();
    auto from = test::generator(18);
    const AdaptedSite site = make_site(c, from);
    const at::Tensor x = test::randn(shape_of(c.lead, c.in), from),
                     dy = test::randn(shape_of(c.lead, c.out), from);
    const auto want = gradients(site, x, ref::adapted_linear(site, x), dy);
    const auto got = gradients(site, x, run(site, x), dy);
    for (size_t i = 0; i < got.size(); ++i)
        EXPECT_TRUE(test::close(got[i], want[i], 1e-11)) << "gradient " << i;
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AdaptedLinear,
    ::testing::Values(Case{Kind::lora, {7}, 13, 11, 3, false}, Case{Kind::lora, {2, 3}, 24, 40, 1, true},
                      Case{Kind::dora, {1}, 1, 1, 1, false}, Case{Kind::dora, {7}, 13, 11, 3, true},
                      Case{Kind::dora, {}, 6, 9, 2, true}, Case{Kind::dora, {0}, 6, 9, 2, true},
                      Case{Kind::dora, {2, 3, 5}, 17, 301, 16, false},
                      Case{Kind::dora, {67}, 5, 257, 7, true}, Case{Kind::dora_full, {7}, 13, 11, 3, true},
                      Case{Kind::dora_full, {2, 3}, 8, 5, 4, false},
                      Case{Kind::magnitude, {4, 2}, 13, 11, 1, true}, Case{Kind::vera, {7}, 13, 11, 5, true},
                      Case{Kind::dvora, {3, 2}, 13, 11, 5, true},
                      Case{Kind::dvora_full, {5}, 13, 11, 5, false}, Case{Kind::dvora, {2}, 13, 11, 7, true},
                      Case{Kind::vera, {3, 3}, 6, 5, 4, false}));

// The full gradient is the true derivative of the layer: central differences in float64.
TEST(AdaptedLinearFull, EqualsFiniteDifferences) {
    for (Kind kind : {Kind::dora_full, Kind::dvora_full}) {
        const Case c{kind, {4}, 6, 5, 2, true};
        auto from = test::generator(19);
        AdaptedSite site = make_site(c, from);
        const at::Tensor x = test::randn({4, 6}, from).set_requires_grad(true),
                         dy = test::randn({4, 5}, from);
        const auto got = gradients(site, x, run(site, x), dy);
        std::vector<at::Tensor> inputs{x};
        for (const at::Tensor& t : leaves(site)) inputs.push_back(t);
        at::NoGradGuard no_grad;
        for (size_t i = 0; i < inputs.size(); ++i) {
            at::Tensor flat = inputs[i].detach().view(-1);
            for (int64_t j = 0; j < flat.numel(); ++j) {
                double value[2];
                const double kept = flat[j].item<double>(), step = 1e-6;
                for (int side = 0; side < 2; ++side) {
                    flat[j] = kept + (side ? step : -step);
                    prepare(site);
                    value[side] = (run(site, x.detach()) * dy).sum().item<double>();
                }
                flat[j] = kept;
                EXPECT_NEAR(got[i].view(-1)[j].item<double>(), (value[1] - value[0]) / (2 * step), 1e-6)
                    << name_of(kind) << " input " << i << " element " << j;
            }
        }
    }
}

TEST(AdaptedLinearGroup, SharesProductsWithoutChangingAnything) {
    auto from = test::generator(20);
    std::vector<AdaptedSite> sites;
    for (Kind kind : {Kind::dora, Kind::lora, Kind::dora_full, Kind::vera, Kind::dvora})
        sites.push_back(make_site({kind, {}, 14, 9, 3, kind == Kind::lora}, from));
    sites[4].down = sites[3].down; // VeRA's projection is one for all
    prepare(sites[4]);
    AdaptedSite plain;
    plain.weight = test::randn({6, 14}, from);
    sites.push_back(plain);
    std::vector<const AdaptedSite*> all;
    for (const AdaptedSite& site : sites) all.push_back(&site);
    const at::Tensor x = test::randn({3, 4, 14}, from).set_requires_grad(true);
    const auto together = adapted_linear(all, x);
    at::Tensor total = at::zeros({}, at::kDouble), want_total = at::zeros({}, at::kDouble);
    std::vector<at::Tensor> weights;
    for (size_t i = 0; i < sites.size(); ++i) {
        const at::Tensor want = ref::adapted_linear(sites[i], x);
        ASSERT_TRUE(test::close(together[i], want, 1e-12)) << i;
        const at::Tensor dy = test::randn(want.sizes(), from);
        if (i != 1) total = total + (together[i] * dy).sum(); // one output is not used at all
        if (i != 1) want_total = want_total + (want * dy).sum();
    }
    auto collect = [&](const at::Tensor& loss) {
        at::Tensor(x).mutable_grad() = at::Tensor();
        for (const AdaptedSite& site : sites)
            for (at::Tensor t : leaves(site)) t.mutable_grad() = at::Tensor();
        loss.backward();
        std::vector<at::Tensor> out{x.grad()};
        for (const AdaptedSite& site : sites)
            for (const at::Tensor& t : leaves(site)) out.push_back(t.grad());
        return out;
    };
    const auto got = collect(total), want = collect(want_total);
    for (size_t i = 0; i < got.size(); ++i)
        if (want[i].defined())
            EXPECT_TRUE(test::close(got[i], want[i], 1e-11)) << i;
        else
            EXPECT_TRUE(!got[i].defined() || test::largest(got[i]) == 0) << i;
}

TEST(AdaptedLinear, TakesNonContiguousInputsAndGradients) {
    auto from = test::generator(21);
    const AdaptedSite site = make_site({Kind::dora, {}, 10, 12, 3, true}, from);
    const at::Tensor x = test::randn({10, 5, 2}, from).transpose(0, 2).detach().set_requires_grad(true);
    const at::Tensor dy = test::randn({12, 5, 2}, from).transpose(0, 2);
    ASSERT_FALSE(x.is_contiguous());
    const auto want = gradients(site, x, ref::adapted_linear(site, x), dy);
    const auto got = gradients(site, x, run(site, x), dy);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(test::close(got[i], want[i], 1e-11)) << i;
    const at::Tensor one = test::randn({1, 1, 1}, from).expand({2, 5, 12});
    EXPECT_TRUE(test::close(gradients(site, x, run(site, x), one)[0],
                            gradients(site, x, ref::adapted_linear(site, x), one)[0], 1e-11));
}

TEST(AdaptedLinear, FindsTheMagnitudesGradientWhereTheMagnitudeIsZero) {
    auto from = test::generator(22);
    AdaptedSite site = make_site({Kind::dora, {}, 10, 12, 3, true}, from);
    {
        at::NoGradGuard no_grad;
        site.magnitude[2].zero_();
        site.magnitude[5].fill_(1e-7);
    }
    prepare(site);
    const at::Tensor x = test::randn({6, 10}, from).set_requires_grad(true), dy = test::randn({6, 12}, from);
    const auto want = gradients(site, x, ref::adapted_linear(site, x), dy);
    const auto got = gradients(site, x, run(site, x), dy);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(test::close(got[i], want[i], 1e-9)) << i;
}

TEST(AdaptedLinear, KeepsRowsOfNormZeroFinite) {
    auto from = test::generator(23);
    AdaptedSite site = make_site({Kind::dora, {}, 10, 6, 3, true}, from, at::kFloat);
    {
        at::NoGradGuard no_grad;
        site.weight[1].zero_();
        site.lora_B.zero_();
        site.magnitude.copy_(squared_row_norms(site.weight).sqrt());
    }
    prepare(site);
    const at::Tensor x = test::randn({4, 10}, from, at::kFloat).set_requires_grad(true);
    const at::Tensor y = run(site, x);
    EXPECT_TRUE(test::close(y.select(1, 1), site.bias[1].expand({4}), 0)); // the bias alone
    for (const at::Tensor& g : gradients(site, x, y, test::randn({4, 6}, from, at::kFloat)))
        EXPECT_TRUE(g.isfinite().all().item<bool>());
}

TEST(AdaptedLinear, RecordsNothingWithoutGradientsAndFreesWhatItKept) {
    auto from = test::generator(24);
    const AdaptedSite site = make_site({Kind::dora, {}, 4, 5, 2, false}, from);
    const at::Tensor x = test::randn({3, 4}, from);
    {
        at::NoGradGuard no_grad;
        EXPECT_FALSE(run(site, x).requires_grad());
    }
    const at::Tensor y = run(site, x);
    EXPECT_TRUE(y.requires_grad());
    y.sum().backward();
    EXPECT_THROW(y.sum().backward(), c10::Error); // a second time
}

TEST(AdaptedLinear, NoticesAnOutputThatWasChangedInPlace) {
    auto from = test::generator(25);
    const AdaptedSite site = make_site({Kind::dora, {}, 4, 5, 2, false}, from);
    at::Tensor y = run(site, test::randn({3, 4}, from));
    y.mul_(2);
    EXPECT_THROW(y.sum().backward(), c10::Error);
}

TEST(AdaptedLinear, RefusesShapesAndTypesThatDoNotFit) {
    auto from = test::generator(26);
    AdaptedSite site = make_site({Kind::dora, {}, 4, 5, 2, false}, from);
    EXPECT_THROW(run(site, test::randn({3, 5}, from)), c10::Error);
    EXPECT_THROW(run(site, test::randn({3, 4}, from, at::kFloat)), c10::Error);
    site.gain = site.gain.narrow(0, 0, 4);
    EXPECT_THROW(run(site, test::randn({3, 4}, from)), c10::Error);
}

// HF PEFT's own layers: golden/peft/linear.
TEST(AdaptedLinearGolden, EqualsPeftInEveryCase) {
    DORABENCH_NEEDS_SHARED();
    const std::string folder = test::shared_dir() + "/golden/peft/linear/";
    const auto cases = nlohmann::json::parse(read_file(folder + "cases.json"));
    ASSERT_GE(cases.size(), 6u);
    for (const auto& c : cases) {
        std::map<std::string, at::Tensor> t;
        for (const NamedTensor& named : read_tensors(folder + c["name"].get<std::string>() + ".safetensors"))
            t[named.name] = named.tensor;
        AdaptedSite site;
        site.weight = t["W"];
        site.bias = t["bias"];
        site.lora_A = t["A"].clone().set_requires_grad(true);
        site.lora_B = t["B"].clone().set_requires_grad(true);
        site.down = site.lora_A.detach();
        site.up = site.lora_B.detach();
        site.scaling = c["scaling"];
        if (t["m"].defined()) site.magnitude = t["m"].clone().set_requires_grad(true);
        prepare(site);
        const at::Tensor x = t["x"].clone().set_requires_grad(true);
        const at::Tensor y = run(site, x);
        y.backward(t["dy"]);
        EXPECT_TRUE(test::close(y, t["ref64.y.f64"], 2e-5)) << c["name"];
        EXPECT_TRUE(test::close(x.grad(), t["ref64.dx.f64"], 2e-5)) << c["name"];
        EXPECT_TRUE(test::close(site.lora_A.grad(), t["ref64.dA.f64"], 2e-5)) << c["name"];
        EXPECT_TRUE(test::close(site.lora_B.grad(), t["ref64.dB.f64"], 2e-5)) << c["name"];
        if (site.magnitude.defined()) {
            EXPECT_TRUE(test::close(site.magnitude.grad(), t["ref64.dm.f64"], 2e-5)) << c["name"];
            EXPECT_TRUE(test::close(site.norm, t["ref64.norm.f64"], 1e-6)) << c["name"];
        }
        AdaptedSite half; // 16-bit base, magnitude and norm float32
        half.weight = t["W"].to(at::kBFloat16);
        if (t["bias"].defined()) half.bias = t["bias"].to(at::kBFloat16);
        half.down = t["A"].to(at::kBFloat16);
        half.up = t["B"].to(at::kBFloat16);
        half.scaling = c["scaling"];
        if (t["m"].defined()) half.magnitude = t["m"].to(at::kBFloat16).to(at::kFloat);
        prepare(half);
        const at::Tensor error =
            run(half, t["x"].to(at::kBFloat16)).to(at::kDouble) - t["ref64.y_of_bf16_inputs.f64"];
        EXPECT_LE(test::largest(error), 1.5 * c["bf16_peft_max_error"].get<double>()) << c["name"];
    }
}

TEST(AdaptedLinear, GivesFloat32GradientsOverA16BitBase) {
    auto from = test::generator(27);
    AdaptedSite exact = make_site({Kind::dora, {}, 64, 48, 8, true}, from, at::kFloat);
    const at::Tensor x = test::randn({32, 64}, from, at::kFloat),
                     dy = test::randn({32, 48}, from, at::kFloat);
    AdaptedSite half = exact;
    half.weight = exact.weight.to(at::kBFloat16);
    half.bias = exact.bias.detach().to(at::kBFloat16);
    half.down = exact.down.to(at::kBFloat16);
    half.up = exact.up.to(at::kBFloat16);
    for (at::Tensor* leaf : {&half.lora_A, &half.lora_B, &half.magnitude})
        *leaf = leaf->detach().clone().set_requires_grad(true);
    prepare(half);
    run(exact, x).backward(dy);
    run(half, x.to(at::kBFloat16)).backward(dy.to(at::kBFloat16));
    for (auto [got, want] : {std::pair{half.lora_A, exact.lora_A},
                             {half.lora_B, exact.lora_B},
                             {half.magnitude, exact.magnitude}}) {
        EXPECT_EQ(got.grad().scalar_type(), at::kFloat);
        EXPECT_LE((got.grad() - want.grad()).norm().item<double>(), 1e-2 * want.grad().norm().item<double>());
    }
}

} // namespace
} // namespace dorabench
