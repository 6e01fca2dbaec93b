#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/train/train.h"
#include "tests/harness/train/toy.h"
#include "tests/support/paths.h"
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;
using test::ToyAdapter;
using test::ToyBackend;

std::vector<json> lines_of(const std::string& path) {
    std::vector<json> out;
    for_each_line(path, [&](size_t, std::string_view line) { out.push_back(json::parse(line)); });
    return out;
}

struct Trained {
    test::TempDir dir;
    ToyBackend backend;
    ToyAdapter adapter;
    TrainOutcome outcome;
    explicit Trained(const AdapterSettings& settings = test::toy_adapter()) : adapter(backend, settings, 3) {}
    void run(const TrainSettings& settings, const TrainingData& data, int stop_value = 0) {
        std::atomic<int> stop{stop_value};
        outcome = train(backend, adapter, settings, data, 7, dir.path(), stop);
    }
    std::vector<json> steps() const { return lines_of(dir / "steps.jsonl"); }
    at::Tensor parameters() {
        std::vector<at::Tensor> flat;
        for (const TrainableTensor& t : adapter.trainable()) flat.push_back(t.tensor.detach().reshape(-1));
        return at::cat(flat).clone();
    }
};

TrainingData data_of(int64_t n, int64_t validation = 0) {
    TrainingData data;
    data.train = test::toy_examples(n);
    if (validation > 0) data.validation = test::toy_examples(validation, 77);
    return data;
}

TEST(Trainer, LogsEveryStepFromZeroWithTheRateUsedInIt) {
    Trained t;
    TrainSettings s = test::toy_settings();
    t.run(s, data_of(10));
    const auto steps = t.steps();
    ASSERT_EQ(steps.size(), 12u);
    int64_t tokens = 0;
    for (size_t i = 0; i < steps.size(); ++i) {
        EXPECT_EQ(steps[i]["step"], i);
        EXPECT_DOUBLE_EQ(steps[i]["learning_rate"], 1e-2 * schedule_factor(s, int64_t(i), 12));
        EXPECT_GT(steps[i]["grad_norm"], 0);
        EXPECT_GE(steps[i]["seconds"], 0);
        tokens += steps[i]["tokens"].get<int64_t>();
    }
    EXPECT_EQ(steps[0]["learning_rate"], 0);
    EXPECT_EQ(t.outcome.steps, 12);
    EXPECT_EQ(t.outcome.tokens, tokens);
    EXPECT_DOUBLE_EQ(t.outcome.final_loss, steps.back()["loss"]);
    EXPECT_LT(t.outcome.final_loss, steps[0]["loss"].get<double>());
    EXPECT_GT(t.outcome.peak_bytes, 0);
    EXPECT_GE(t.adapter.changes, 12);
}

TEST(Trainer, KeepsTheAdapterOnTheWayAsAShorterTrainingEnds) {
    TrainSettings settings = test::toy_settings(); // 12 steps
    settings.scheduler = "constant", settings.warmup_steps = 0, settings.keep_every = 4;
    Trained longer, shorter;
    longer.run(settings, data_of(10));
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(longer.dir / "adapters"))
        found.insert(entry.path().filename().string());
    EXPECT_EQ(found, (std::set<std::string>{"step-4", "step-8"})); // the last is the run's own adapter
    settings.max_steps = 8, settings.keep_every = 0;
    shorter.run(settings, data_of(10));
    EXPECT_FALSE(std::filesystem::exists(shorter.dir / "adapters"));
    EXPECT_FALSE(longer.parameters().equal(shorter.parameters()));
    longer.adapter.load(longer.dir / "adapters/step-8");
    EXPECT_TRUE(longer.parameters().equal(shorter.parameters()));
}

TEST(Trainer, LossAndGradientNormAreThoseOfTheWholeBatch) {
    Trained t;
    TrainSettings s = test::toy_settings();
    s.max_steps = 1, s.batch_size = 5, s.micro_batch_size = 2, s.shuffle = false;
    const TrainingData data = data_of(5);
    double weight = 0;
    for (const EncodedExample& e : data.train) weight += t.backend.loss_weight(e);
    const at::Tensor loss = t.backend.loss_sum(data.train) / weight;
    loss.backward();
    double square = 0;
    for (const TrainableTensor& p : t.adapter.trainable())
        square += std::pow(p.tensor.grad().to(at::kDouble).norm().item<double>(), 2);
    t.run(s, data);
    EXPECT_NEAR(t.steps()[0]["loss"].get<double>(), loss.item<double>(), 1e-6);
    EXPECT_NEAR(t.steps()[0]["grad_norm"].get<double>(), std::sqrt(square), 1e-5);
}

TEST(Trainer, AccumulationChangesNothingButSpeed) {
    Trained whole, single;
    TrainSettings s = test::toy_settings();
    s.learning_rate = 1e-3;
    s.micro_batch_size = 4, whole.run(s, data_of(10));
    s.micro_batch_size = 1, single.run(s, data_of(10));
    const auto a = whole.steps(), b = single.steps();
    for (size_t i = 0; i < a.size(); ++i) {
        EXPECT_NEAR(a[i]["loss"].get<double>(), b[i]["loss"].get<double>(), 1e-6 * a[i]["loss"].get<double>())
            << i;
        EXPECT_NEAR(a[i]["grad_norm"].get<double>(), b[i]["grad_norm"].get<double>(), 1e-5) << i;
        EXPECT_EQ(a[i]["tokens"], b[i]["tokens"]);
    }
    EXPECT_LT((whole.parameters() - single.parameters()).abs().max().item<double>(), 2e-5);
}

TEST(Trainer, TheSameSeedGivesTheSameBits) {
    Trained a(test::toy_adapter("dora", 0.3)), b(test::toy_adapter("dora", 0.3));
    a.run(test::toy_settings(), data_of(10)), b.run(test::toy_settings(), data_of(10));
    EXPECT_TRUE(a.parameters().equal(b.parameters()));
}

TEST(Trainer, ClippingBoundsTheUpdateAndIsLoggedBeforeIt) {
    Trained clipped, free;
    TrainSettings s = test::toy_settings();
    s.max_grad_norm = 1e-3, clipped.run(s, data_of(8));
    s.max_grad_norm = 0, free.run(s, data_of(8));
    EXPECT_DOUBLE_EQ(clipped.steps()[0]["grad_norm"], free.steps()[0]["grad_norm"]);
    EXPECT_GT(clipped.steps()[0]["grad_norm"], 1e-2);
    EXPECT_FALSE(clipped.parameters().equal(free.parameters()));
}

TEST(Trainer, EveryGroupIsAliveAndAFrozenOneIsNot) {
    Trained t;
    t.run(test::toy_settings(), data_of(10));
    ASSERT_EQ(t.outcome.liveness.size(), 3u);
    for (const auto& [group, state] : t.outcome.liveness) EXPECT_TRUE(state.alive()) << group;
    Trained frozen;
    TrainSettings s = test::toy_settings();
    s.groups.push_back({"*magnitude*", 0.0, std::nullopt, std::nullopt});
    frozen.run(s, data_of(10));
    EXPECT_FALSE(frozen.outcome.liveness.at("magnitude").alive());
    EXPECT_TRUE(frozen.outcome.liveness.at("lora_A").alive());
}

TEST(Trainer, StopsAtALossThatIsNotFiniteAndNamesStepRateAndExamples) {
    Trained t;
    TrainSettings s = test::toy_settings();
    s.shuffle = false, s.batch_size = 2, s.micro_batch_size = 2, s.scheduler = "constant", s.warmup_steps = 0;
    int passes = 0;
    t.backend.on_loss = [&] {
        if (++passes == 6) t.backend.loss_scale = std::numeric_limits<float>::quiet_NaN();
    };
    try {
        t.run(s, data_of(8));
        FAIL() << "expected an error";
    } catch (const Error& e) {
        const std::string what = e.what();
        EXPECT_EQ(e.kind(), ErrorKind::failed);
        for (const char* part : {"step 5", "0.01", "[2, 3]", "nan", "after step 3 stays"})
            EXPECT_NE(what.find(part), std::string::npos) << what << " / " << part;
    }
    EXPECT_EQ(t.steps().size(), 5u); // nothing written for the bad step
    EXPECT_FALSE(exists(t.dir / "checkpoint/step-6"));
    EXPECT_TRUE(exists(t.dir / "checkpoint/step-3"));
}

TEST(Trainer, AnInfiniteGradientStopsToo) {
    Trained t;
    t.backend.on_loss = [&] {
        at::NoGradGuard no_grad;
        t.adapter.layer(0).A[0][0] = std::numeric_limits<float>::infinity();
    };
    EXPECT_THROW(t.run(test::toy_settings(), data_of(8)), Error);
    EXPECT_FALSE(exists(t.dir / "checkpoint/step-3"));
}

TEST(Trainer, KeepsTheTensorsOfTheBestValidationLoss) {
    Trained t;
    TrainSettings s = test::toy_settings();
    s.scheduler = "constant", s.learning_rate = 0.6, s.max_steps = 24,
    s.evaluate_every = 2; // far too high: it diverges
    const TrainingData data = data_of(6, 5);
    t.run(s, data);
    const auto validation = lines_of(t.dir / "validation.jsonl");
    ASSERT_EQ(validation.size(), 12u);
    double best = 1e9;
    for (const json& line : validation) best = std::min(best, line["loss"].get<double>());
    EXPECT_TRUE(t.outcome.has_validation);
    EXPECT_DOUBLE_EQ(t.outcome.best_validation_loss, best);
    EXPECT_LT(best, validation.back()["loss"].get<double>()) << "the case must not end at its best";
    at::NoGradGuard no_grad;
    double weight = 0;
    for (const EncodedExample& e : data.validation) weight += t.backend.loss_weight(e);
    EXPECT_NEAR(t.backend.loss_sum(data.validation).item<double>() / weight, best, 1e-5);
}

TEST(Trainer, WithoutEvaluateEveryTheValidationLossIsOfTheLastStep) {
    Trained t;
    t.run(test::toy_settings(), data_of(6, 5));
    const auto validation = lines_of(t.dir / "validation.jsonl");
    ASSERT_EQ(validation.size(), 1u);
    EXPECT_EQ(validation[0]["step"], 11);
    EXPECT_DOUBLE_EQ(t.outcome.best_validation_loss, validation[0]["loss"]);
}

TEST(Trainer, TasksAreMixedByBatchWithTheirOwnSizes) {
    Trained t;
    TrainingData data = data_of(12);
    for (int i = 0; i < 12; ++i) data.source_of.push_back(i < 8 ? 0 : 1);
    data.batch_size_of = {4, 2};
    TrainSettings s = test::toy_settings();
    s.max_steps = 0, s.epochs = 2; // (2 + 2 batches) * 2
    t.run(s, data);
    EXPECT_EQ(t.outcome.steps, 8);
}

TEST(Trainer, EveryEpochTrainsOnAnAnswerOfItsOwnDrawing) {
    TrainingData data = data_of(1);
    data.train[0].labels = data.train[0].input_ids = {1, 2, 3};
    data.train[0].soft_targets = {{{1, 2, 3}, 1.0}, {{1, 5, 6}, 0.6}};
    TrainSettings s = test::toy_settings();
    s.max_steps = 0, s.epochs = 16, s.batch_size = 1, s.warmup_steps = 0, s.learning_rate = 1e-12;
    Trained t;
    t.run(s, data);
    std::map<int64_t, int> losses; // weights as good as still: a loss for each answer
    for (const json& step : t.steps()) ++losses[std::llround(1e6 * step["loss"].get<double>())];
    ASSERT_EQ(t.outcome.steps, 16);
    EXPECT_EQ(losses.size(), 2u);
    Trained again;
    again.run(s, data);
    EXPECT_EQ((t.parameters() - again.parameters()).abs().max().item<double>(), 0);
}

TEST(Trainer, PackingTrainsTheSameTargetsInFewerSteps) {
    Trained t;
    TrainSettings s = test::toy_settings();
    s.max_steps = 0, s.epochs = 1, s.batch_size = 1, s.packing = true, s.max_length = 24;
    const TrainingData data = data_of(12);
    t.run(s, data);
    int64_t tokens = 0;
    for (const EncodedExample& e : data.train) tokens += int64_t(e.input_ids.size());
    EXPECT_EQ(t.outcome.tokens, tokens);
    EXPECT_LT(t.outcome.steps, 12);
    EXPECT_GE(t.outcome.steps, tokens / 24);
}

TEST(Trainer, CountsTheRowsThatWereDropped) {
    Trained t;
    TrainingData data = data_of(10);
    data.train[3].lost_target = true;
    t.run(test::toy_settings(), data);
    EXPECT_EQ(t.outcome.dropped_rows, 1);
}

TEST(Trainer, ALossWithoutTrainablePartIsALivenessFault) {
    Trained t;
    t.adapter.set_enabled(false);
    try {
        t.run(test::toy_settings(), data_of(4));
        FAIL() << "expected an error";
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::check);
    }
}

} // namespace
} // namespace dorabench
