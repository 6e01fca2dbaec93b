#include "harness/plan/plan.h"
#include "tests/support/paths.h"
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using ::testing::HasSubstr;

// Two decoder layers' worth of linear weights, known from shapes alone.
ModelShapes toy_shapes(const BackendSettings&) {
    ModelShapes shapes;
    shapes.backend = "toy";
    shapes.name = "toy-1";
    shapes.layers = 2;
    shapes.hidden = 8;
    shapes.intermediate = 16;
    shapes.heads = shapes.kv_heads = 2;
    shapes.head_dim = 4;
    shapes.vocab = 32;
    shapes.parameters.push_back({"model.embed_tokens.weight", {32, 8}});
    for (int layer = 0; layer < 2; ++layer) {
        std::string start = "model.layers." + std::to_string(layer) + ".";
        for (const char* name : {"self_attn.q_proj", "self_attn.v_proj"})
            shapes.parameters.push_back({start + name + ".weight", {8, 8}, true});
        shapes.parameters.push_back({start + "mlp.up_proj.weight", {16, 8}, true});
    }
    shapes.parameters.push_back({"lm_head.weight", {32, 8}, true, true});
    return shapes;
}

const Registry<BackendFactory>& registry() {
    static const Registry<BackendFactory> filled = [] {
        Registry<BackendFactory> backends("backend");
        BackendFactory factory;
        factory.name = "toy";
        factory.shapes = toy_shapes;
        factory.shape_names = [] { return std::vector<std::string>{"toy-1"}; };
        backends.add(factory);
        return backends;
    }();
    return filled;
}

KnownNames names() {
    return {{"toy"},          adapter_methods(), {"boolq", "commonsense_170k"},
            {"llm_adapters"}, {"accuracy"},      {"toy-1"}};
}

const char* const kHead = "name: t\nbackend: {type: toy, shape: toy-1}\n";
const char* const kAdapter =
    "adapter: {method: dora, rank: 4, scaling: 2, target_modules: [q_proj, v_proj]}\n";

class PlanTest : public ::testing::Test {
protected:
    RunPlan plan(const std::string& text, const std::vector<std::string>& overrides = {}) {
        std::ofstream(path()) << text;
        return make_plan(ConfigFile::load(path(), overrides), registry(), names());
    }
    std::string wrong(const std::string& text) {
        try {
            plan(text);
        } catch (const ConfigErrors& errors) {
            return errors.what();
        }
        return "nothing is wrong";
    }
    std::string path() const { return temp_ / "x.yaml"; }
    test::TempDir temp_;
};

TEST(Combinations, AreTheProductInFileOrderWithZipsMovingTogether) {
    SweepSettings sweep;
    sweep.axes = {{"seed", {"1", "2"}}, {"adapter.rank", {"4", "8"}}};
    sweep.zips = {{{"adapter.method", {"lora", "dora"}}, {"train.learning_rate", {"3e-4", "2e-4"}}}};
    auto all = combinations(sweep);
    ASSERT_EQ(all.size(), 8u);
    EXPECT_EQ(all[1][0].yaml, "1");
    EXPECT_EQ(all[1][1].yaml, "4");
    EXPECT_EQ(all[1][2].yaml, "dora");
    EXPECT_EQ(all[1][3].yaml, "2e-4");
    EXPECT_EQ(all[7][0].yaml, "2");
    EXPECT_EQ(combinations({}).size(), 1u);
    sweep.zips[0][1].second.pop_back();
    EXPECT_THROW(combinations(sweep), Error);
}

TEST(Combinations, AreLimitedInNumber) {
    SweepSettings sweep;
    std::vector<std::string> values(1000, "1");
    sweep.axes = {{"a", values}, {"b", values}};
    EXPECT_THROW(combinations(sweep), Error);
}

TEST_F(PlanTest, CountsOneRunFromShapes) {
    RunPlan one = plan(std::string(kHead) + kAdapter);
    ASSERT_EQ(one.runs.size(), 1u);
    EXPECT_EQ(one.runs[0].count.trainable, 4 * (4 * (8 + 8) + 8));
    EXPECT_EQ(one.runs[0].count.base, toy_shapes({}).total());
    EXPECT_EQ(one.runs[0].id.size(), 16u);
    EXPECT_EQ(one.runs[0].id.find_first_not_of("0123456789abcdef"), std::string::npos);
}

TEST_F(PlanTest, ExpandsSeedsAndSweep) {
    RunPlan many = plan(std::string(kHead) + "seed: [1, 2]\n" + kAdapter +
                        "sweep:\n  adapter.method: [lora, dora]\n  adapter.rank: [4, 8, 16]\n");
    ASSERT_EQ(many.runs.size(), 12u);
    EXPECT_EQ(many.runs[0].settings.seed, 1u);
    EXPECT_EQ(many.runs[0].settings.adapter.alpha, 8);
    EXPECT_EQ(many.runs[2].settings.adapter.rank, 16);
    EXPECT_EQ(many.runs[2].settings.adapter.alpha, 32);
    EXPECT_EQ(many.runs[3].settings.adapter.method, "dora");
    EXPECT_EQ(many.runs[11].settings.seed, 2u);
}

TEST_F(PlanTest, MakesOneRunOfCombinationsThatAMethodCannotTellApart) {
    RunPlan collapsed =
        plan(std::string(kHead) + "adapter: {method: vera, rank: 4, target_modules: [q_proj]}\n" +
             "sweep:\n  adapter.method: [vera, lora]\n  adapter.alpha: [8, 16]\n");
    EXPECT_EQ(collapsed.runs.size(), 3u);
    ASSERT_EQ(collapsed.notes.size(), 1u);
    EXPECT_THAT(collapsed.notes[0], HasSubstr("adapter.alpha=16"));
}

TEST_F(PlanTest, MarksTargetModulesThatMeetNoSite) {
    std::string text =
        wrong(std::string(kHead) + "adapter: {method: dora, rank: 4, alpha: 8, target_modules: [q_porj]}\n");
    EXPECT_THAT(text, HasSubstr("x.yaml:3:"));
    EXPECT_THAT(text, HasSubstr("adapter.target_modules"));
    EXPECT_THAT(text, HasSubstr("q_porj"));
}

TEST_F(PlanTest, SaysWhatIsWrongOnceForAllCombinations) {
    std::string text =
        wrong(std::string(kHead) +
              "adapter: {method: dora, rank: 4, alpha: 8, target_modules: [nowhere]}\nseed: [1, 2, 3]\n");
    size_t count = 0;
    for (size_t at = 0; (at = text.find("x.yaml:3:", at)) != std::string::npos; ++at) ++count;
    EXPECT_EQ(count, 1u) << text;
}

TEST_F(PlanTest, IdentityIgnoresWhatDoesNotShapeTheResult) {
    auto id = [&](const std::vector<std::string>& overrides) {
        return plan(std::string(kHead) + kAdapter, overrides).runs[0].id;
    };
    std::string plain = id({});
    EXPECT_EQ(plain, id({"name=other"}));
    EXPECT_EQ(plain, id({"results=elsewhere"}));
    EXPECT_EQ(plain, id({"data_dir=/elsewhere"}));
    EXPECT_EQ(plain, id({"adapter.alpha=8"})) << "scaling 2 at rank 4";
    EXPECT_NE(plain, id({"adapter.rank=8"}));
    EXPECT_NE(plain, id({"seed=43"}));
    EXPECT_NE(plain, id({"adapter.dropout=0.1"}));
    EXPECT_NE(plain, id({"adapter.norm_grad=full"}));
    EXPECT_NE(plain, id({"backend.dtype=bfloat16"}));
}

TEST_F(PlanTest, IdentityIsTheSameOnEveryCall) {
    RunSettings settings = plan(std::string(kHead) + kAdapter).runs[0].settings;
    EXPECT_EQ(run_identity(settings), run_identity(settings_from_json(settings_json(settings))));
}

TEST_F(PlanTest, SolvesRanksForAnEqualBudget) {
    RunPlan matched = plan(std::string(kHead) + kAdapter +
                           "sweep:\n  adapter.method: [lora, dora]\nmatch: {trainable: 640}\n");
    ASSERT_EQ(matched.runs.size(), 2u);
    EXPECT_EQ(matched.runs[0].settings.adapter.rank, 10); // 4 sites of 16 r
    EXPECT_EQ(matched.runs[0].settings.adapter.alpha, 20);
    EXPECT_EQ(matched.runs[1].settings.adapter.rank,
              9); // 4 (16 r + 8): 608 at 9 and 672 at 10 are equally near; the smaller
}

TEST(Budget, ReadsPercentNumbersAndSizes) {
    EXPECT_TRUE(parse_budget("trainable", "1%").percent);
    EXPECT_DOUBLE_EQ(parse_budget("trainable", "50M").amount, 50e6);
    EXPECT_DOUBLE_EQ(parse_budget("stored_bytes", "8 MiB").amount, 8388608);
    for (const char* bad : {"", "x", "-1", "5 parsecs", "0"})
        EXPECT_THROW(parse_budget("trainable", bad), Error) << bad;
    EXPECT_THROW(parse_budget("stored_bytes", "1%"), Error);
    EXPECT_THROW(parse_budget("time", "1"), Error);
}

TEST(MemoryEstimate, FollowsItsFormulas) {
    RunSettings settings;
    settings.backend.dtype = "bfloat16";
    settings.adapter.method = "lora";
    settings.adapter.rank = 4;
    settings.adapter.alpha = 8;
    settings.adapter.target_modules = {"q_proj", "v_proj"};
    settings.train.micro_batch_size = 2;
    settings.train.max_length = 10;
    ModelShapes shapes = toy_shapes({});
    AdapterCount count = count_adapter(shapes, settings.adapter);
    MemoryEstimate memory = estimate_memory(shapes, count, settings);
    EXPECT_EQ(memory.weights, 2 * shapes.total());
    EXPECT_EQ(memory.adapter, 4 * count.added);
    EXPECT_EQ(memory.gradients, 4 * count.trainable);
    EXPECT_EQ(memory.optimizer, 8 * count.trainable);
    // per token and layer: 4 d + 2 q + 2 k + 3 f and the ranks of two sites, in 2 bytes; 16-bit operators on
    // a CPU
    const int64_t layer = 2 * (4 * 8 + 2 * 8 + 2 * 8 + 3 * 16 + 2 * 4) + 8 * 8 + 2 * 16;
    const int64_t saved = 20 * 2 * layer + 20 * 4 * 8 * 2, chunk = 20 * 32 * 8;
    EXPECT_NEAR(double(memory.activations), 1.16 * double(saved + chunk), 2);
    settings.train.batch_size = 2; // one micro-batch
    memory = estimate_memory(shapes, count, settings);
    EXPECT_EQ(memory.total(), memory.weights + memory.adapter + memory.optimizer + memory.buffers +
                                  memory.program + std::max(memory.activations, memory.gradients));
    settings.train.batch_size = 4; // two micro-batches
    EXPECT_TRUE(estimate_memory(shapes, count, settings).accumulates);
    settings.train.gradient_checkpointing = true;
    EXPECT_LT(estimate_memory(shapes, count, settings).activations, memory.activations);
    settings.backend.quantization = "nf4";
    EXPECT_LT(estimate_memory(shapes, count, settings).weights, memory.weights);
}

TEST(MemoryEstimate, AnEncoderAndItsDecoderReadTheirOwnTokens) {
    constexpr int64_t d = 8, f = 32;
    ModelShapes shapes;
    shapes.layers = 2, shapes.hidden = d, shapes.intermediate = f, shapes.heads = shapes.kv_heads = 2;
    shapes.head_dim = 4, shapes.vocab = 16;
    for (const std::string stack : {"encoder", "decoder"}) {
        const std::string at = "model." + stack + ".layers.0.";
        std::vector<std::string> attentions = {"self_attn."};
        if (stack == "decoder") attentions.push_back("encoder_attn.");
        for (const std::string& attention : attentions)
            for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"})
                shapes.parameters.push_back({at + attention + name + ".weight", {d, d}, true});
        shapes.parameters.push_back({at + "fc1.weight", {f, d}, true});
        shapes.parameters.push_back({at + "fc2.weight", {d, f}, true});
    }
    RunSettings settings;
    settings.backend.dtype = "float32", settings.backend.device = "cuda"; // no heap to hold anything back
    settings.adapter.method = "dora", settings.adapter.rank = 2, settings.adapter.alpha = 2;
    settings.adapter.has_alpha = true, settings.adapter.target_modules = {"q_proj", "fc2"};
    settings.train.micro_batch_size = 1, settings.train.max_length = 10;
    auto activations = [&] {
        return estimate_memory(shapes, count_adapter(shapes, settings.adapter), settings).activations;
    };
    // 8 d + 2 f each; the decoder's cross-attention 4 d of its tokens, 2 d of the encoder's; five sites'
    // ranks; fc2's outputs (q's are kept anyway); behind: 4 d, and one layer's backward 3 f + 3 d
    const int64_t layers = 2 * (8 * d + 2 * f) + 4 * d + 2 * d + 5 * 2 + 2 * d;
    EXPECT_EQ(activations(), 4 * 10 * (layers + 4 * d + 3 * f + 3 * d));
    const int64_t alone = activations();
    settings.backend.options["dropout"] = "0.1";
    EXPECT_EQ(activations() - alone, 4 * 10 * (2 * (2 * d + f) + d));
    settings.backend.options.clear();
    shapes.parameters.push_back({"model.encoder.visual_embedding.feat_embedding.0.weight", {d, 2048}});
    // 36 boxes more for the encoder: its layer, the keys and values that the decoder reads, q and fc2 with
    // their ranks
    EXPECT_EQ(activations() - alone, 4 * 36 * (8 * d + 2 * f + 2 * d + 2 * 2 + d + 3 * f + 3 * d));
}

TEST(MemoryEstimate, APicturesTokensCount) {
    RunSettings settings;
    settings.adapter.method = "lora", settings.adapter.rank = 4, settings.adapter.alpha = 8;
    settings.adapter.target_modules = {"q_proj", "v_proj"};
    settings.train.micro_batch_size = 2, settings.train.max_length = 24;
    ModelShapes shapes = toy_shapes({});
    const AdapterCount count = count_adapter(shapes, settings.adapter);
    const int64_t text = estimate_memory(shapes, count, settings).activations;
    shapes.parameters.push_back({"vision.position_embedding.weight", {577, 8}, false, false, "vision"});
    EXPECT_NEAR(double(estimate_memory(shapes, count, settings).activations) / double(text), 25.0, 0.1);
}

TEST(MemoryEstimate, ARunThatDoesNotFitSaysWhatWould) {
    PlannedRun run;
    run.id = "0123";
    run.settings.adapter.method = "lora";
    run.settings.adapter.rank = 4, run.settings.adapter.alpha = 8, run.settings.adapter.has_alpha = true;
    run.settings.adapter.target_modules = {"q_proj", "v_proj"};
    run.settings.train.micro_batch_size = 8, run.settings.train.max_length = 4096;
    run.shapes = toy_shapes({});
    run.count = count_adapter(run.shapes, run.settings.adapter);
    run.memory = estimate_memory(run.shapes, run.count, run.settings);
    EXPECT_NO_THROW(require_memory(run, run.memory.total()));
    RunSettings one = run.settings;
    one.train.micro_batch_size = 1;
    const int64_t least = estimate_memory(run.shapes, run.count, one).total();
    auto refusal = [&](int64_t available) -> std::string {
        try {
            require_memory(run, available);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::resources);
            return error.what();
        }
        return "fits";
    };
    EXPECT_THAT(refusal(least),
                HasSubstr(cat("train.micro_batch_size=1: ", human_bytes(double(least)), " (fits)")));
    for (const char* option :
         {"gradient_checkpointing=true", "quantization=nf4", "all of these", "nothing was started"})
        EXPECT_THAT(refusal(least), HasSubstr(option));
    EXPECT_THAT(refusal(1000), HasSubstr("a machine with more memory"));
    run.settings.adapter.method = "ft";
    EXPECT_THAT(refusal(1000), ::testing::Not(HasSubstr("nf4")));
}

TEST(MemoryEstimate, OfFullFineTuningCountsTheBaseAsTrained) {
    RunSettings settings;
    settings.adapter.method = "ft";
    ModelShapes shapes = toy_shapes({});
    AdapterCount count = count_adapter(shapes, settings.adapter);
    MemoryEstimate memory = estimate_memory(shapes, count, settings);
    EXPECT_EQ(memory.adapter, 0);
    EXPECT_EQ(memory.gradients, 4 * shapes.total());
    EXPECT_EQ(memory.optimizer, 8 * shapes.total());
}

} // namespace
} // namespace dorabench
