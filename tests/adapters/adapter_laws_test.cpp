// What holds for every method, one suite.
#include "adapters/adapter_set.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "tests/adapters/tiny_backend.h"
#include "tests/support/paths.h"
#include <filesystem>
#include <set>

namespace dorabench {
namespace {

// Tensors here are a few hundred numbers: threads would only wait for each other.
struct OneThread final : ::testing::Environment {
    void SetUp() override { at::set_num_threads(1); }
};
[[maybe_unused]] const auto* const kOneThread = ::testing::AddGlobalTestEnvironment(new OneThread);

struct Law {
    std::string name;
    AdapterSettings settings;
    int64_t trainable; // closed formula on the tiny backbone
    bool nf4 = false;  // on a quantised base
    test::TinyBackend backend() const { return test::TinyBackend(at::kFloat, 1, true, nf4); }
};
void PrintTo(const Law& law, std::ostream* os) { *os << law.name; }

AdapterSettings settings_of(const std::string& method) {
    AdapterSettings s;
    s.method = method;
    s.rank = 3;
    s.alpha = 6;
    s.has_alpha = true;
    s.target_modules = {"q_proj", "v_proj", "down_proj"};
    return s;
}

std::vector<Law> laws() {
    // per layer: q 12x8, v 6x8, down 8x18: sum of in + out 20 + 14 + 26 = 60, of out 26
    const int64_t lora = 2 * 3 * 60, magnitudes = 2 * 26;
    std::vector<Law> all;
    auto add = [&](const std::string& name, const std::string& method, int64_t trainable, auto change) {
        Law law{name, settings_of(method), trainable};
        change(law.settings);
        all.push_back(law);
    };
    auto nothing = [](AdapterSettings&) {};
    add("Lora", "lora", lora, nothing);
    add("LoraGaussianStabilised", "lora", lora, [](AdapterSettings& s) {
        s.init = "gaussian";
        s.rslora = true;
    });
    add("LoraPatterns", "lora", lora + 2 * 2 * 20, [](AdapterSettings& s) {
        s.rank_pattern = {{"q_proj", 5}};
        s.alpha_pattern = {{".*\\.0\\..*", 2.0}};
    });
    add("LoraPissa", "lora", lora, [](AdapterSettings& s) { s.init = "pissa"; });
    add("Dora", "dora", lora + magnitudes, nothing);
    add("DoraPissa", "dora", lora + magnitudes, [](AdapterSettings& s) { s.init = "pissa"; });
    add("DoraFullDroppedOnTheAdapter", "dora", lora + magnitudes, [](AdapterSettings& s) {
        s.norm_grad = "full";
        s.dropout = 0.1;
        s.dropout_placement = "adapter";
    });
    add("DoraDropped", "dora", lora + magnitudes, [](AdapterSettings& s) { s.dropout = 0.1; });
    add("DoraSomeMagnitudesAlone", "dora", 2 * 3 * 14 + magnitudes, [](AdapterSettings& s) {
        s.target_modules = {"v_proj"};
        s.magnitude_modules = {"q_proj", "v_proj", "*.mlp.*"};
    });
    add("Vera", "vera", 2 * (3 * 3 + 26), nothing);
    add("VeraWithoutProjections", "vera", 2 * (3 * 3 + 26), [](AdapterSettings& s) {
        s.save_projection = false;
        s.projection_prng_key = 7;
    });
    add("Dvora", "dvora", 2 * (3 * 3 + 2 * 26), nothing);
    add("DvoraFull", "dvora", 2 * (3 * 3 + 2 * 26), [](AdapterSettings& s) {
        s.norm_grad = "full";
        s.target_regex = "all-linear";
        s.target_modules = {};
    });
    add("DoraAndNorms", "dora", lora + magnitudes + 8, [](AdapterSettings& s) { s.train_also = {"*norm*"}; });
    for (size_t i = 0, dense = all.size(); i < dense; ++i) {
        if (all[i].settings.init == "pissa") continue; // changes the base, which a quantised one refuses
        Law law = all[i];
        law.name += "OnNf4", law.nf4 = true;
        all.push_back(law);
    }
    return all;
}

class AdapterLaws : public ::testing::TestWithParam<Law> {};
const Ids kProbe = {3, 1, 4, 1, 5, 9, 2, 6};

TEST_P(AdapterLaws, BeginsAsTheBase) {
    test::TinyBackend backend = GetParam().backend();
    const at::Tensor base = backend.probe_logits(kProbe);
    const auto set = attach_adapter(backend, GetParam().settings, 5);
    EXPECT_TRUE(
        test::close(backend.probe_logits(kProbe), base, GetParam().settings.init == "pissa" ? 2e-6 : 1e-6));
}

TEST_P(AdapterLaws, MergesToWhatItComputes) {
    test::TinyBackend backend = GetParam().backend();
    const auto set = attach_adapter(backend, GetParam().settings, 5);
    test::disturb(*set);
    const at::Tensor adapted = backend.probe_logits(kProbe), base_before = backend.probe_logits({2});
    std::map<std::string, at::Tensor> merged;
    set->for_each_merged([&](const std::string& name, const at::Tensor& weight) { merged[name] = weight; });
    EXPECT_EQ(merged.size(), 6u);
    if (GetParam().nf4) { // into a dense model of the same other parameters
        test::TinyBackend dense(at::kFloat, 1, true);
        std::map<std::string, at::Tensor> own;
        for (NamedTensor& parameter : backend.parameters()) own[parameter.name] = parameter.tensor.detach();
        for (NamedTensor& parameter : dense.parameters())
            parameter.tensor.set_data(merged.count(parameter.name) ? merged[parameter.name]
                                                                   : own.at(parameter.name));
        EXPECT_TRUE(test::close(dense.probe_logits(kProbe), adapted, 5e-6));
        return;
    }
    set->set_enabled(false);
    std::map<std::string, at::Tensor> kept;
    for (NamedTensor& parameter : backend.parameters())
        if (merged.count(parameter.name)) {
            kept[parameter.name] = parameter.tensor.detach().alias();
            EXPECT_GT(test::relative_error(merged[parameter.name], parameter.tensor), 1e-3) << parameter.name;
            parameter.tensor.set_data(merged[parameter.name]);
        }
    EXPECT_TRUE(test::close(backend.probe_logits(kProbe), adapted, 5e-6));
    for (NamedTensor& parameter : backend.parameters())
        if (kept.count(parameter.name)) parameter.tensor.set_data(kept[parameter.name]);
    set->set_enabled(true);
    EXPECT_TRUE(test::same_bits(backend.probe_logits(kProbe), adapted));
}

TEST_P(AdapterLaws, CountsAsTheClosedFormulas) {
    test::TinyBackend backend;
    const AdapterCount count = count_adapter(backend.shapes(), GetParam().settings);
    EXPECT_EQ(count.trainable, GetParam().trainable);
    EXPECT_EQ(count.base, backend.shapes().total());
    const auto set = attach_adapter(backend, GetParam().settings, 5);
    int64_t trainable = 0, listed = 0;
    for (const TrainableTensor& part : set->trainable()) trainable += part.tensor.numel();
    for (const ModuleCount& module : count.modules) listed += module.trainable;
    EXPECT_EQ(trainable, count.trainable);
    EXPECT_EQ(listed, count.trainable);
    test::TempDir folder;
    set->save(folder.path(), "base");
    int64_t stored = 0;
    for (const NamedTensor& named : read_tensors(folder / "adapter_model.safetensors"))
        stored += named.tensor.numel() * 4;
    EXPECT_EQ(stored, count.stored_bytes);
}

TEST_P(AdapterLaws, ComesBackBitForBitFromItsFolder) {
    test::TempDir folder;
    at::Tensor want;
    std::vector<at::Tensor> tensors;
    {
        test::TinyBackend backend = GetParam().backend();
        const auto set = attach_adapter(backend, GetParam().settings, 5);
        test::disturb(*set);
        want = backend.probe_logits(kProbe);
        set->save(folder.path(), "base");
        for (const TrainableTensor& part : set->trainable()) tensors.push_back(part.tensor.detach().clone());
        test::disturb(*set, 7); // and back into the set that wrote it
        set->load(folder.path());
        EXPECT_TRUE(test::same_bits(backend.probe_logits(kProbe), want));
    }
    test::TinyBackend fresh = GetParam().backend();
    AdapterSettings settings = read_adapter_settings(folder.path());
    EXPECT_EQ(settings.method, GetParam().settings.method);
    EXPECT_EQ(settings.norm_grad, GetParam().settings.norm_grad);
    const auto set = attach_adapter(fresh, settings, 6);
    set->load(folder.path());
    if (GetParam().settings.init == "pissa") { // against the original base now, with twice the rank
        EXPECT_EQ(settings.rank, 6);
        EXPECT_TRUE(test::close(fresh.probe_logits(kProbe), want, 5e-6));
        return;
    }
    EXPECT_TRUE(test::same_bits(fresh.probe_logits(kProbe), want));
    const auto parts = set->trainable();
    ASSERT_EQ(parts.size(), tensors.size());
    for (size_t i = 0; i < parts.size(); ++i)
        EXPECT_TRUE(test::same_bits(parts[i].tensor.detach(), tensors[i])) << parts[i].name;
}

TEST_P(AdapterLaws, TrainsItsTensorsAndNothingElse) {
    test::TinyBackend backend = GetParam().backend();
    const auto set = attach_adapter(backend, GetParam().settings, 5);
    test::disturb(*set);
    set->set_training(true);
    set->begin_micro_batch(1, 0, 0);
    backend.loss_sum({}).backward();
    std::set<const void*> trained;
    std::set<std::string> names;
    for (const TrainableTensor& part : set->trainable()) {
        ASSERT_TRUE(part.tensor.grad().defined()) << part.name;
        EXPECT_GT(test::largest(part.tensor.grad()), 0) << part.name;
        EXPECT_TRUE(part.tensor.is_leaf());
        EXPECT_TRUE(names.insert(part.name).second) << part.name;
        trained.insert(part.tensor.const_data_ptr());
    }
    for (const NamedTensor& parameter : backend.parameters())
        if (!trained.count(parameter.tensor.const_data_ptr())) {
            EXPECT_FALSE(parameter.tensor.requires_grad()) << parameter.name;
            EXPECT_FALSE(parameter.tensor.grad().defined()) << parameter.name;
        }
}

TEST_P(AdapterLaws, IsANoOpAfterResetToIdentity) {
    test::TinyBackend backend = GetParam().backend();
    const at::Tensor base = backend.probe_logits(kProbe);
    AdapterSettings settings = GetParam().settings;
    settings.train_also = {};
    const auto set = attach_adapter(backend, settings, 5);
    test::disturb(*set);
    EXPECT_GT(test::relative_error(backend.probe_logits(kProbe), base), 1e-3);
    set->reset_to_identity();
    EXPECT_TRUE(test::close(backend.probe_logits(kProbe), base, 2e-6));
}

TEST_P(AdapterLaws, LeavesTheBackboneAsItWas) {
    test::TinyBackend backend = GetParam().backend();
    const at::Tensor base = backend.probe_logits(kProbe);
    AdapterSettings settings = GetParam().settings;
    settings.train_also = {};
    {
        const auto set = attach_adapter(backend, settings, 5);
        test::disturb(*set);
        set->set_enabled(false);
        EXPECT_TRUE(test::same_bits(backend.probe_logits(kProbe), base));
        set->set_enabled(true);
        EXPECT_FALSE(test::same_bits(backend.probe_logits(kProbe), base));
    }
    EXPECT_TRUE(test::same_bits(backend.probe_logits(kProbe), base));
}

INSTANTIATE_TEST_SUITE_P(Methods, AdapterLaws, ::testing::ValuesIn(laws()),
                         [](const auto& info) { return info.param.name; });

TEST(Adapters, DoraWithItsMagnitudeAtTheNormIsLora) {
    for (const bool nf4 : {false, true}) {
        test::TinyBackend backend(at::kFloat, 1, false, nf4);
        at::Tensor lora_logits;
        std::vector<at::Tensor> pairs;
        {
            const auto lora = attach_adapter(backend, settings_of("lora"), 5);
            test::disturb(*lora);
            lora_logits = backend.probe_logits(kProbe);
            for (const TrainableTensor& part : lora->trainable())
                pairs.push_back(part.tensor.detach().clone());
        }
        const auto dora = attach_adapter(backend, settings_of("dora"), 5);
        at::NoGradGuard no_grad;
        size_t next = 0;
        for (TrainableTensor& part : dora->trainable())
            if (part.group != "magnitude") part.tensor.copy_(pairs[next++]);
        dora->changed();
        std::map<std::string, at::Tensor> merged;
        const double s = 2.0;
        std::map<std::string, at::Tensor> by_name;
        for (TrainableTensor& part : dora->trainable()) by_name[part.name] = part.tensor;
        for (LinearSite* site : backend.sites()) {
            const std::string prefix = "base_model.model." + site->path() + ".";
            if (!by_name.count(prefix + "lora_magnitude_vector")) continue;
            const at::Tensor v = site->base().dense() + s * at::mm(by_name[prefix + "lora_B.weight"],
                                                                   by_name[prefix + "lora_A.weight"]);
            by_name[prefix + "lora_magnitude_vector"].copy_(v.pow(2).sum(1).sqrt());
        }
        dora->changed();
        EXPECT_TRUE(test::close(backend.probe_logits(kProbe), lora_logits, 2e-6));
    }
}

// The norms of the dequantised weight (HF PEFT's QDoRA) or of the one before quantisation (fsdp_qlora).
TEST(Adapters, TakeTheMagnitudesOfAnNf4BaseFromEitherWeight) {
    for (const std::string from : {"dequantized", "original"}) {
        test::TinyBackend backend(at::kFloat, 1, true, true);
        const at::Tensor base = backend.probe_logits(kProbe);
        std::map<std::string, at::Tensor> original;
        for (const NamedTensor& parameter : test::TinyBackend(at::kFloat, 1, true).parameters())
            original[parameter.name] = parameter.tensor;
        for (const std::string method : {"dora", "dvora"}) {
            AdapterSettings settings = settings_of(method);
            settings.magnitude_from = from;
            const auto set = attach_adapter(backend, settings, 5);
            std::map<std::string, at::Tensor> started;
            for (const TrainableTensor& part : set->trainable()) started[part.name] = part.tensor.detach();
            size_t seen = 0;
            for (LinearSite* site : backend.sites()) {
                const auto at = started.find("base_model.model." + site->path() + ".lora_magnitude_vector");
                if (at == started.end()) continue;
                const at::Tensor weight =
                    from == "original" ? original.at(site->path() + ".weight") : site->base().dense().clone();
                EXPECT_TRUE(test::close(at->second, weight.pow(2).sum(1).sqrt(), 1e-6)) << site->path();
                ++seen;
            }
            EXPECT_EQ(seen, 6u);
            EXPECT_EQ(test::relative_error(backend.probe_logits(kProbe), base) < 1e-5, from == "dequantized");
        }
    }
}

TEST(Adapters, RefuseWhatAQuantisedBaseCannotGive) {
    auto refusal = [](AdapterSettings settings) -> std::string {
        test::TinyBackend backend(at::kFloat, 1, true, true);
        for (LinearSite* site : backend.sites()) // as out of a prequantised checkpoint
            if (site->base().packed())
                const_cast<Nf4Weight&>(*site->base().packed()).original_norms = at::Tensor();
        try {
            attach_adapter(backend, settings, 5);
        } catch (const Error& error) {
            return error.what();
        }
        return "accepted";
    };
    AdapterSettings settings = settings_of("dora");
    EXPECT_EQ(refusal(settings), "accepted");
    settings.magnitude_from = "original";
    EXPECT_NE(refusal(settings).find("magnitude_from original"), std::string::npos);
    settings = settings_of("lora"), settings.init = "pissa";
    EXPECT_NE(refusal(settings).find("init pissa"), std::string::npos);
    settings = settings_of("lora"), settings.target_modules = {"q_proj"},
    settings.train_also = {"*v_proj.weight"};
    EXPECT_NE(refusal(settings).find("train_also"), std::string::npos);
}

// Merged in float32 and rounded once, a 16-bit model of an NF4 base answers as the adapted one does.
TEST(Adapters, MergeAnNf4BaseInto16BitWithinItsRounding) {
    for (const std::string method : {"lora", "dora", "vera", "dvora"}) {
        test::TinyBackend backend(at::kBFloat16, 1, true, true), dense(at::kBFloat16, 1, true);
        const auto set = attach_adapter(backend, settings_of(method), 5);
        test::disturb(*set);
        std::map<std::string, at::Tensor> merged;
        set->for_each_merged([&](const std::string& name, const at::Tensor& weight) {
            EXPECT_EQ(weight.scalar_type(), at::kFloat);
            merged[name] = weight.to(at::kBFloat16);
        });
        for (NamedTensor& parameter : dense.parameters())
            if (merged.count(parameter.name)) parameter.tensor.set_data(merged[parameter.name]);
        EXPECT_TRUE(test::close(dense.probe_logits(kProbe), backend.probe_logits(kProbe), 3e-2)) << method;
    }
}

TEST(Adapters, ComputeNormsAgainOnlyAfterChanged) {
    test::TinyBackend backend;
    const auto dora = attach_adapter(backend, settings_of("dora"), 5);
    const at::Tensor before = backend.probe_logits(kProbe);
    at::NoGradGuard no_grad;
    for (TrainableTensor& part : dora->trainable())
        if (part.group == "magnitude") part.tensor.mul_(1.5);
    EXPECT_TRUE(
        test::same_bits(backend.probe_logits(kProbe), before)); // not told: the gains are those of before
    dora->changed();
    EXPECT_GT(test::relative_error(backend.probe_logits(kProbe), before), 0.05);
}

TEST(Adapters, DrawTheSameDropoutForTheSameMicroBatch) {
    test::TinyBackend backend;
    AdapterSettings settings = settings_of("dora");
    settings.dropout = 0.3;
    const auto set = attach_adapter(backend, settings, 5);
    test::disturb(*set);
    const at::Tensor plain = backend.probe_logits(kProbe);
    set->set_training(true);
    set->begin_micro_batch(1, 2, 3);
    const at::Tensor first = backend.probe_logits(kProbe);
    EXPECT_GT(test::relative_error(first, plain), 1e-3);
    set->begin_micro_batch(1, 2, 4);
    EXPECT_GT(test::relative_error(backend.probe_logits(kProbe), first), 1e-3);
    set->begin_micro_batch(1, 2, 3);
    EXPECT_TRUE(test::same_bits(backend.probe_logits(kProbe), first));
    set->set_training(false);
    EXPECT_TRUE(test::same_bits(backend.probe_logits(kProbe), plain));
}

TEST(Adapters, AreTheSameForTheSameSeedAlone) {
    at::Tensor first;
    for (uint64_t seed : {5, 5, 6}) {
        test::TinyBackend backend;
        const auto set = attach_adapter(backend, settings_of("lora"), seed);
        const at::Tensor a = set->trainable()[0].tensor.detach();
        if (!first.defined()) first = a;
        EXPECT_EQ(test::same_bits(a, first), seed == 5);
        EXPECT_LE(test::largest(a), 1 / std::sqrt(8.0));
    }
}

TEST(Adapters, TrainTheWholeBaseUnderFt) {
    test::TinyBackend backend(at::kFloat, 1, true);
    AdapterSettings settings;
    settings.method = "ft";
    const AdapterCount count = count_adapter(backend.shapes(), settings);
    EXPECT_EQ(count.trainable, backend.shapes().total());
    EXPECT_EQ(count.added, 0);
    test::TempDir folder;
    at::Tensor want;
    {
        const auto set = attach_adapter(backend, settings, 5);
        EXPECT_EQ(set->trainable().size(), backend.parameters().size());
        EXPECT_EQ(set->trainable()[0].name, "model.embed_tokens.weight");
        backend.loss_sum({}).backward();
        for (const TrainableTensor& part : set->trainable())
            EXPECT_TRUE(part.tensor.grad().defined()) << part.name;
        test::disturb(*set);
        want = backend.probe_logits(kProbe);
        set->save(folder.path(), "base");
        EXPECT_THROW(set->set_enabled(false), Error);
    }
    test::TinyBackend fresh(at::kFloat, 1, true);
    const auto set = attach_adapter(fresh, read_adapter_settings(folder.path()), 5);
    set->load(folder.path());
    EXPECT_TRUE(test::same_bits(fresh.probe_logits(kProbe), want));
}

TEST(Adapters, CountNothingUnderNone) {
    test::TinyBackend backend;
    AdapterSettings settings;
    EXPECT_EQ(count_adapter(backend.shapes(), settings).trainable, 0);
    const at::Tensor base = backend.probe_logits(kProbe);
    const auto set = attach_adapter(backend, settings, 5);
    EXPECT_TRUE(set->trainable().empty());
    EXPECT_TRUE(test::same_bits(backend.probe_logits(kProbe), base));
}

TEST(Adapters, ReportRowsOfNormZero) {
    test::TinyBackend backend;
    at::NoGradGuard no_grad;
    for (NamedTensor& parameter : backend.parameters())
        if (parameter.name == "model.layers.1.self_attn.v_proj.weight") parameter.tensor[2].zero_();
    const auto set = attach_adapter(backend, settings_of("dora"), 5);
    EXPECT_EQ(set->dead_rows(),
              std::vector<std::string>{"model.layers.1.self_attn.v_proj: 1 of 6 rows have norm 0"});
    EXPECT_TRUE(backend.probe_logits(kProbe).isfinite().all().item<bool>());
}

TEST(Adapters, KeepFloat32TensorsOverA16BitBase) {
    for (const std::string method : {"lora", "dora", "vera", "dvora"}) {
        test::TinyBackend backend(at::kBFloat16, 1, true);
        const at::Tensor base = backend.probe_logits(kProbe);
        const auto set = attach_adapter(backend, settings_of(method), 5);
        EXPECT_TRUE(test::close(backend.probe_logits(kProbe), base, 2e-2)) << method;
        test::disturb(*set);
        set->set_training(true);
        backend.loss_sum({}).backward();
        for (const TrainableTensor& part : set->trainable()) {
            EXPECT_EQ(part.tensor.scalar_type(), at::kFloat) << part.name;
            ASSERT_TRUE(part.tensor.grad().defined()) << part.name;
            EXPECT_EQ(part.tensor.grad().scalar_type(), at::kFloat) << part.name;
        }
        set->for_each_merged([](const std::string& name, const at::Tensor& merged) {
            EXPECT_EQ(merged.scalar_type(), at::kFloat) << name;
        });
    }
}

} // namespace
} // namespace dorabench
