// Each check passes on a healthy adapter and fails when one thing is wrong.
#include "harness/train/checks.h"
#include "tests/harness/train/toy.h"
#include "tests/support/paths.h"
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using test::ToyAdapter;
using test::ToyBackend;

const Ids kProbe{1, 4, 2, 7, 5, 9, 3};

struct Fixture {
    test::TempDir dir;
    ToyBackend backend;
    ToyAdapter adapter;
    explicit Fixture(AdapterSettings settings = test::toy_adapter(), at::ScalarType dtype = at::kFloat)
        : backend(1, dtype), adapter(backend, settings, 3) {}
    void perturb() { // as training would leave it
        at::NoGradGuard no_grad;
        Rng rng(8, "perturb");
        for (const TrainableTensor& t : adapter.trainable())
            at::Tensor(t.tensor).add_(test::random_tensor(t.tensor.sizes().vec(), 0.1, rng));
    }
};

TEST(IdentityCheck, PassesForAFreshAdapterOfEachKind) {
    for (const char* method : {"lora", "dora"}) {
        Fixture f(test::toy_adapter(method));
        const CheckResult r = check_identity(f.backend, f.adapter, kProbe);
        EXPECT_EQ(r.status, "passed") << r.message;
        EXPECT_LE(r.value, 1e-5);
    }
}

TEST(IdentityCheck, FailsWhenOneElementOfBIsNotZero) {
    Fixture f;
    at::NoGradGuard no_grad;
    f.adapter.layer(0).B[3][1] = 0.01;
    const CheckResult r = check_identity(f.backend, f.adapter, kProbe);
    EXPECT_EQ(r.status, "failed");
    EXPECT_GT(r.value, 1e-5);
}

TEST(IdentityCheck, FailsWhenOneMagnitudeIsOff) {
    Fixture f;
    at::NoGradGuard no_grad;
    f.adapter.layer(1).m[2] *= 1.001;
    EXPECT_EQ(check_identity(f.backend, f.adapter, kProbe).status, "failed");
}

TEST(IdentityCheck, OfAFolderIsMeasuredAtZeroAndLeavesTheAdapterAsItWas) {
    AdapterSettings settings = test::toy_adapter();
    settings.init = "some/folder";
    Fixture f(settings);
    f.perturb();
    const at::Tensor before = f.backend.probe_logits(kProbe).detach();
    EXPECT_EQ(check_identity(f.backend, f.adapter, kProbe).status, "passed");
    EXPECT_TRUE(f.backend.probe_logits(kProbe).equal(before));
    EXPECT_GT(f.adapter.layer(0).B.abs().max().item<double>(), 0);
}

TEST(IdentityCheck, DoesNotApplyToFullFineTuningAndIsOnlyReportedIn16Bit) {
    AdapterSettings settings = test::toy_adapter("lora");
    settings.method = "ft";
    Fixture ft(settings);
    EXPECT_EQ(check_identity(ft.backend, ft.adapter, kProbe).status, "not applicable");
    Fixture half(test::toy_adapter(), at::kBFloat16);
    EXPECT_EQ(check_identity(half.backend, half.adapter, kProbe).status, "reported");
}

TEST(LivenessCheck, NamesTheGroupThatDidNotMoveOrHadNoGradient) {
    TrainOutcome outcome;
    outcome.steps = 10;
    outcome.liveness = {{"lora_A", {0.5, 0.1}}, {"lora_B", {0.5, 0.1}}, {"magnitude", {0.2, 0.01}}};
    EXPECT_EQ(check_liveness(outcome).status, "passed");
    outcome.liveness["magnitude"].moved = 0;
    CheckResult r = check_liveness(outcome);
    EXPECT_EQ(r.status, "failed");
    EXPECT_NE(r.message.find("magnitude had a gradient but never moved"), std::string::npos) << r.message;
    EXPECT_EQ(r.message.find("lora_A"), std::string::npos) << r.message;
    outcome.liveness["magnitude"] = {0, 0.01}; // weight decay alone moved it
    r = check_liveness(outcome);
    EXPECT_EQ(r.status, "failed");
    EXPECT_NE(r.message.find("magnitude never had a gradient"), std::string::npos) << r.message;
    outcome.liveness.clear();
    EXPECT_EQ(check_liveness(outcome).status, "failed");
    outcome.steps = 0;
    EXPECT_EQ(check_liveness(outcome).status, "not applicable");
}

TEST(LivenessCheck, FailsOnATrainingWithAFrozenGroup) {
    Fixture f;
    TrainSettings s = test::toy_settings();
    s.groups.push_back({"*lora_B*", 0.0, std::nullopt, std::nullopt});
    TrainingData data;
    data.train = test::toy_examples(8);
    std::atomic<int> stop{0};
    const CheckResult r = check_liveness(train(f.backend, f.adapter, s, data, 1, f.dir.path(), stop));
    EXPECT_EQ(r.status, "failed");
    EXPECT_NE(r.message.find("group lora_B"), std::string::npos) << r.message;
}

TEST(ReloadCheck, PassesAndLeavesTheAdapterAsItWas) {
    Fixture f;
    f.perturb();
    const at::Tensor before = f.backend.probe_logits(kProbe).detach();
    const CheckResult r = check_reload(f.backend, f.adapter, kProbe, f.dir / "adapter");
    EXPECT_EQ(r.status, "passed") << r.message;
    EXPECT_TRUE(f.backend.probe_logits(kProbe).equal(before));
}

TEST(ReloadCheck, KeepsTheBaseNameOfAnAdapterThatWasSavedThere) {
    Fixture f;
    f.adapter.save(f.dir / "adapter", "models/base");
    EXPECT_EQ(check_reload(f.backend, f.adapter, kProbe, f.dir / "adapter").status, "passed");
    EXPECT_NE(read_file(f.dir / "adapter/adapter_config.json").find("models/base"), std::string::npos);
}

TEST(ReloadCheck, FailsWhenAGroupIsSavedWronglyOrLost) {
    Fixture f;
    f.perturb();
    f.adapter.spoil_group = "magnitude";
    CheckResult r = check_reload(f.backend, f.adapter, kProbe, f.dir / "adapter");
    EXPECT_EQ(r.status, "failed");
    EXPECT_NE(r.message.find("magnitude"), std::string::npos) << r.message;
    f.adapter.spoil_group.clear(), f.adapter.drop_group = "lora_B";
    r = check_reload(f.backend, f.adapter, kProbe, f.dir / "adapter");
    EXPECT_EQ(r.status, "failed");
    EXPECT_NE(r.message.find("lora_B"), std::string::npos) << r.message;
}

TEST(KeysCheck, MatchesBothWays) {
    Fixture f;
    f.adapter.save(f.dir / "adapter", "");
    EXPECT_EQ(check_keys(f.adapter, f.dir / "adapter").status, "passed");
    f.adapter.drop_group = "magnitude";
    f.adapter.save(f.dir / "adapter", "");
    CheckResult r = check_keys(f.adapter, f.dir / "adapter");
    EXPECT_EQ(r.status, "failed");
    EXPECT_NE(r.message.find("lora_magnitude_vector"), std::string::npos) << r.message;
    const std::string file = f.dir / "adapter/adapter_model.safetensors";
    std::vector<NamedTensor> tensors;
    f.adapter.drop_group.clear();
    for (const TrainableTensor& t : f.adapter.trainable()) tensors.push_back({t.name, t.tensor.detach()});
    tensors.push_back({"base_model.vera_A", at::zeros({2, 2}, at::kFloat)}); // frozen, may lie beside
    write_tensors(file, tensors);
    EXPECT_EQ(check_keys(f.adapter, f.dir / "adapter").status, "passed");
    tensors.push_back({"base_model.model.lm_head.lora_A.weight", at::zeros({2, 2}, at::kFloat)});
    write_tensors(file, tensors);
    r = check_keys(f.adapter, f.dir / "adapter");
    EXPECT_EQ(r.status, "failed");
    EXPECT_NE(r.message.find("lm_head"), std::string::npos) << r.message;
}

TEST(MergeCheck, PassesInFloat32AndPutsTheAdapterBack) {
    for (const char* method : {"lora", "dora"}) {
        Fixture f(test::toy_adapter(method));
        f.perturb();
        const at::Tensor before = f.backend.probe_logits(kProbe).detach();
        const CheckResult r = check_merge(f.backend, f.adapter, kProbe);
        EXPECT_EQ(r.status, "passed") << r.message;
        EXPECT_GT(r.value, 0) << "merged and unmerged must be two computations";
        EXPECT_TRUE(f.backend.probe_logits(kProbe).equal(before));
    }
}

TEST(MergeCheck, FailsInFloat32WhenTheMergedWeightIsWrong) {
    Fixture f;
    f.perturb();
    f.adapter.layer(0).merge_error = 0.01;
    const CheckResult r = check_merge(f.backend, f.adapter, kProbe);
    EXPECT_EQ(r.status, "failed");
    EXPECT_NE(r.message.find("flipped"), std::string::npos) << r.message;
}

TEST(MergeCheck, IsReportedIn16Bit) {
    Fixture f(test::toy_adapter(), at::kBFloat16);
    f.perturb();
    const CheckResult r = check_merge(f.backend, f.adapter, kProbe);
    EXPECT_EQ(r.status, "reported");
    EXPECT_GT(r.value, 0);
}

TEST(ChecksJson, HasStatusValueAndMessageByName) {
    const auto j = checks_json({{"identity", "passed", 1e-7, ""}, {"merge", "reported", NAN, "x"}});
    EXPECT_EQ(j["identity"]["status"], "passed");
    EXPECT_EQ(j["identity"]["value"], 1e-7);
    EXPECT_TRUE(j["merge"]["value"].is_null());
    EXPECT_EQ(j["merge"]["message"], "x");
}

} // namespace
} // namespace dorabench
