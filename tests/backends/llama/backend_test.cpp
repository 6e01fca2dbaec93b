// The backend's promises: weights are checked, the batch's composition and gradient checkpointing change
// nothing, rows are cut where the contract says.
#include "backends/llama/decoder.h"
#include "backends/llama/llama.h"
#include "backends/nn/weights.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <ATen/ops/randint.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr const char* kConfig =
    R"({"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 60, "max_position_embeddings": 24, "bos_token_id": 1, "eos_token_id": 2})";

// A folder with random weights, changed before they are written.
std::unique_ptr<LlamaBackend> load(const test::TempDir& dir, const std::function<void(Weights&)>& change = {},
                                   const std::string& dtype = "float32") {
    write_file_atomic(dir / "config.json", kConfig);
    const ModelShapes shapes = llama_shapes(parse_llama_config(kConfig, "test"), "test");
    Weights weights = random_weights(1, shapes.parameters, {}, 0.2);
    if (change) change(weights);
    std::vector<NamedTensor> tensors;
    for (auto& [name, tensor] : weights) tensors.push_back({name, tensor});
    write_tensors(dir / "model.safetensors", tensors);
    BackendSettings settings;
    settings.checkpoint = dir.path(), settings.device = "cpu", settings.dtype = dtype;
    return std::make_unique<LlamaBackend>(settings, 0);
}

std::string refusal(const std::function<void(Weights&)>& change) {
    test::TempDir dir;
    try {
        load(dir, change);
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        return e.what();
    }
    return "accepted";
}

TEST(LlamaWeights, WhatIsMissingUnexpectedOrOfAnotherShapeIsNamed) {
    const std::string key = "model.layers.1.mlp.up_proj.weight";
    EXPECT_THAT(refusal([&](Weights& w) { w.erase(key); }), HasSubstr(key));
    EXPECT_THAT(refusal([&](Weights& w) { w["model.extra.weight"] = at::ones({2}); }),
                HasSubstr("model.extra.weight"));
    EXPECT_THAT(refusal([&](Weights& w) { w[key] = at::ones({48, 31}); }), HasSubstr("[48, 32]"));
    EXPECT_THAT(refusal([&](Weights& w) { w[key] = at::ones({48, 32}, at::kLong); }), HasSubstr("I64"));
    EXPECT_EQ(refusal([&](Weights& w) { w["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::ones({4}); }),
              "accepted");
}

TEST(LlamaWeights, NamesWithoutTheLeadingModelAreFound) {
    EXPECT_EQ(refusal([](Weights& w) {
                  Weights bare;
                  for (auto& [name, tensor] : w)
                      bare[name.rfind("model.", 0) == 0 ? name.substr(6) : name] = tensor;
                  w = bare;
              }),
              "accepted");
}

TEST(LlamaWeights, AreConvertedToTheDtypeThatIsAskedFor) {
    test::TempDir dir;
    auto backend = load(dir, {}, "bfloat16");
    for (const NamedTensor& p : backend->parameters())
        EXPECT_EQ(p.tensor.scalar_type(), at::kBFloat16) << p.name;
    EXPECT_EQ(backend->probe_logits({1, 5, 9}).scalar_type(), at::kFloat);
    test::TempDir other;
    at::Tensor exact = load(other)->probe_logits({1, 5, 9});
    EXPECT_LT((backend->probe_logits({1, 5, 9}) - exact).abs().max().item<float>(),
              0.1f * exact.abs().max().item<float>());
}

TEST(LlamaWeights, RandomOnesDependOnTheSeedAlone) {
    BackendSettings settings;
    settings.shape = "quickstart", settings.device = "cpu";
    auto logits = [&](uint64_t seed) { return LlamaBackend(settings, seed).probe_logits({1, 2, 3}); };
    EXPECT_TRUE(logits(5).equal(logits(5)));
    EXPECT_FALSE(logits(5).equal(logits(6)));
    const auto parameters = LlamaBackend(settings, 5).parameters();
    EXPECT_NEAR(parameters[0].tensor.std().item<double>(), 0.02, 1e-3);
}

EncodedExample example_of(Ids ids, size_t prompt) {
    EncodedExample e;
    e.input_ids = ids, e.labels = std::move(ids);
    std::fill_n(e.labels.begin(), prompt, kIgnoreLabel);
    return e;
}

TEST(LlamaLoss, IsASumOverRowsWhateverTheBatchAndThePacking) {
    test::TempDir dir;
    auto backend = load(dir);
    std::vector<EncodedExample> rows{example_of({1, 4, 5, 6, 7}, 2), example_of({1, 9, 8}, 1),
                                     example_of({1, 30, 31, 32, 33}, 0)};
    double alone = 0, weight = 0;
    EncodedExample packed;
    for (const EncodedExample& row : rows) {
        alone += backend->loss_sum(std::span(&row, 1)).item<double>();
        weight += backend->loss_weight(row);
        packed.segments.push_back(static_cast<int64_t>(packed.input_ids.size()));
        packed.input_ids.insert(packed.input_ids.end(), row.input_ids.begin(), row.input_ids.end());
        packed.labels.insert(packed.labels.end(), row.labels.begin(), row.labels.end());
    }
    EXPECT_NEAR(backend->loss_sum(rows).item<double>(), alone, 1e-4);
    EXPECT_NEAR(backend->loss_sum(std::span(&packed, 1)).item<double>(), alone, 1e-4);
    EXPECT_EQ(backend->loss_weight(packed), weight);
    EXPECT_EQ(weight, 3 + 2 + 4);
    rows[0].weight = 0.5;
    EXPECT_NEAR(backend->loss_sum(std::span(rows.data(), 1)).item<double>() * 2,
                backend->loss_sum(std::span(&rows[0], 1)).item<double>() * 2, 1e-6);
    rows[1].weight = rows[2].weight = 0;
    EncodedExample whole = rows[0];
    whole.weight = 1;
    EXPECT_NEAR(backend->loss_sum(rows).item<double>() * 2,
                backend->loss_sum(std::span(&whole, 1)).item<double>(), 1e-4);
}

TEST(LlamaLoss, GradientCheckpointingChangesNoBit) {
    test::TempDir dir;
    std::vector<std::map<std::string, at::Tensor>> gradients;
    std::vector<float> losses;
    for (bool on : {false, true}) {
        auto backend = load(dir);
        backend->set_training(true);
        backend->set_gradient_checkpointing(on);
        gradients.emplace_back();
        auto parameters = backend->parameters();
        for (NamedTensor& p : parameters)
            if (p.name.find("embed") == std::string::npos) p.tensor.requires_grad_(true);
        const EncodedExample row = example_of({1, 4, 5, 6, 7, 20, 21}, 2);
        at::Tensor loss = backend->loss_sum(std::span(&row, 1));
        loss.backward();
        losses.push_back(loss.item<float>());
        for (NamedTensor& p : parameters)
            if (p.tensor.requires_grad()) gradients.back()[p.name] = p.tensor.grad();
    }
    EXPECT_EQ(losses[0], losses[1]);
    for (const auto& [name, gradient] : gradients[0])
        EXPECT_TRUE(gradient.equal(gradients[1].at(name))) << name;
}

TEST(LlamaLoss, AnIdOutsideTheVocabularyIsAnErrorNotACrash) {
    test::TempDir dir;
    auto backend = load(dir);
    const EncodedExample row = example_of({1, 60}, 0);
    EXPECT_THROW(backend->loss_sum(std::span(&row, 1)), Error);
}

TEST(LlamaEncode, ReadyMadeIdsLoseTheLeftOfTheirPromptAndKeepTheirLabels) {
    test::TempDir dir;
    auto backend = load(dir);
    TrainingPair pair;
    pair.source = "t:1";
    pair.input_ids = {1, 10, 11, 12, 13, 14};
    pair.labels = {-100, -100, -100, -100, 13, 14};
    EncodedExample e = backend->encode(pair, {4, true});
    EXPECT_EQ(e.input_ids, (Ids{1, 12, 13, 14}));
    EXPECT_EQ(e.labels, (Ids{-100, -100, 13, 14}));
    EXPECT_EQ(e.cut_tokens, 2);
    EXPECT_FALSE(e.lost_target);
    EXPECT_TRUE(backend->encode(pair, {2, true}).lost_target)
        << "BOS and two target tokens do not fit in two";
    pair.labels.pop_back();
    EXPECT_THROW(backend->encode(pair, {9, true}), Error);
    pair.labels = {-100, -100, -100, -100, -100, 99};
    EXPECT_THROW(backend->encode(pair, {9, true}), Error);
    pair.labels.clear(), pair.input_ids.clear(), pair.prompt = "text";
    EXPECT_THROW(backend->encode(pair, {9, true}), Error) << "no tokenizer";
}

TEST(LlamaRespond, LongContextsAreCutOnTheLeftAndCounted) {
    test::TempDir dir;
    auto backend = load(dir); // 24 positions
    Request request;
    request.has_ids = true;
    request.context_ids = {1};
    for (int64_t i = 0; i < 40; ++i) request.context_ids.push_back(3 + i);
    request.generate.max_new_tokens = 6, request.generate.eos_set = true;
    Request score = request;
    score.kind = Request::Kind::score;
    score.continuation_ids = {5, 6, 7};
    const std::vector<Request> requests{request, score};
    backend->respond(requests, 0, [&](size_t i, Response r) {
        EXPECT_EQ(r.cut_tokens, i == 0 ? 41 - 18 : 41 - 22) << i;
        EXPECT_EQ(r.prompt_tokens, i == 0 ? 18 : 22);
        if (i == 0) {
            EXPECT_EQ(r.ids.size(), 6u);
            EXPECT_EQ(r.finish_reason, "length");
        } else
            EXPECT_EQ(r.tokens, 3);
    });
    request.generate.max_new_tokens = 1000;
    backend->respond(std::span(&request, 1), 0, [&](size_t, Response r) { EXPECT_EQ(r.ids.size(), 23u); });
    request.context_ids = {77};
    EXPECT_THROW(backend->respond(std::span(&request, 1), 0, [](size_t, Response) {}), Error);
    request.has_ids = false, request.context = "text";
    EXPECT_THROW(backend->respond(std::span(&request, 1), 0, [](size_t, Response) {}), Error)
        << "no tokenizer";
}

TEST(LlamaRespond, AnEmptyContextStartsFromBos) {
    test::TempDir dir;
    auto backend = load(dir);
    std::vector<Request> requests(2);
    for (Request& r : requests) r.kind = Request::Kind::score, r.has_ids = true, r.continuation_ids = {9, 8};
    requests[1].context_ids = {1};
    std::vector<double> got(2);
    backend->respond(requests, 0, [&](size_t i, Response r) { got[i] = r.loglikelihood; });
    EXPECT_EQ(got[0], got[1]);
    EXPECT_LT(got[0], 0);
}

TEST(LlamaDecoder, ForgetsWhatNoRowSees) {
    test::TempDir dir;
    auto backend = load(dir);
    at::NoGradGuard no_grad;
    const std::vector<Ids> prompts(400, {1, 5, 6, 7, 8, 9});
    LlamaDecoder decoder(backend->model(), prompts);
    at::Tensor first = decoder.start(std::vector<int64_t>{0});
    for (int64_t i = 1; i < 400; ++i) {
        at::Tensor again = decoder.start(std::vector<int64_t>{i}); // row 1
        EXPECT_LT((again - first).abs().max().item<float>(), 1e-4f);
        decoder.step(std::vector<int64_t>{1, 1}, std::vector<int64_t>{3, 4});
        decoder.step(std::vector<int64_t>{1}, std::vector<int64_t>{5}); // rows leave
    }
    EXPECT_LT(decoder.buffer_rows(), 1000);
}

class Stories : public testing::Test {
protected:
    void SetUp() override {
        DORABENCH_NEEDS_SHARED();
        folder = test::shared_dir() + "/data/models/stories260K";
        BackendSettings settings;
        settings.checkpoint = folder, settings.device = "cpu";
        backend = std::make_unique<LlamaBackend>(settings, 0);
        reference = json::parse(read_file(folder + "/reference.json"));
    }
    std::string folder;
    std::unique_ptr<LlamaBackend> backend;
    json reference;
};

TEST_F(Stories, GreedyContinuationsAndTheirTextAreTheReferences) {
    std::vector<Request> requests;
    std::vector<std::pair<Ids, std::string>> want;
    auto add = [&](const std::string& prompt, const Ids& whole, size_t prompt_tokens,
                   const std::string& text) {
        Request r;
        r.id = prompt, r.context = prompt, r.generate.eos_set = true;
        r.generate.max_new_tokens = static_cast<int64_t>(whole.size() - prompt_tokens);
        requests.push_back(r);
        want.emplace_back(Ids(whole.begin() + prompt_tokens, whole.end()), text);
    };
    add("", reference["greedy_empty_prompt"]["ids"].get<Ids>(), 1, reference["greedy_empty_prompt"]["text"]);
    for (const char* prompt : {"Zoo", "The big dog", "Tom and Sam went to the"})
        add(prompt, reference[prompt]["greedy_ids"].get<Ids>(), reference[prompt]["prompt_ids"].size(), "");
    backend->respond(requests, 0, [&](size_t i, Response r) {
        EXPECT_EQ(r.ids, want[i].first) << requests[i].context;
        if (i == 0) EXPECT_EQ(r.text, want[i].second);
    });
}

TEST_F(Stories, TeacherForcedLogProbabilitiesAreTheReferences) {
    const Ids ids = reference["teacher_forced"]["ids"].get<Ids>();
    const auto want = reference["teacher_forced"]["token_logprobs"].get<std::vector<double>>();
    at::Tensor logs = backend->probe_logits(ids).log_softmax(-1);
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(logs[i][ids[i + 1]].item<double>(), want[i], 1e-4);
    Request request;
    request.kind = Request::Kind::score;
    request.continuation = reference["teacher_forced"]["text"];
    backend->respond(std::span(&request, 1), 0, [&](size_t, Response r) {
        double sum = 0;
        for (double x : want) sum += x;
        EXPECT_EQ(r.tokens, static_cast<int64_t>(want.size()));
        EXPECT_NEAR(r.loglikelihood, sum, 1e-3);
    });
}

TEST_F(Stories, TheSeamMovesTrailingSpaceToTheContinuation) {
    std::vector<Request> requests(2);
    for (Request& r : requests) r.kind = Request::Kind::score;
    requests[0].context = "Once upon a time, ", requests[0].continuation = "there was";
    requests[1].context = "Once upon a time,", requests[1].continuation = " there was";
    std::vector<Response> got(2);
    backend->respond(requests, 0, [&](size_t i, Response r) { got[i] = r; });
    EXPECT_EQ(got[0].tokens, got[1].tokens);
    EXPECT_EQ(got[0].loglikelihood, got[1].loglikelihood);
    EXPECT_GT(got[0].tokens, 0);
}

TEST_F(Stories, TrainingTextIsEncodedInOnePieceAndThePromptMasked) {
    TrainingPair pair;
    pair.prompt = "Once upon a time", pair.target = ", there was", pair.source = "t:1";
    const EncodedExample all = backend->encode(pair, {64, true}), masked = backend->encode(pair, {64, false});
    EXPECT_EQ(all.input_ids.front(), 1);
    EXPECT_EQ(all.input_ids.back(), 2) << "the end token is added";
    EXPECT_EQ(all.labels, all.input_ids);
    const size_t prompt = backend->tokenizer()->encode(pair.prompt, true).size();
    for (size_t i = 0; i < masked.labels.size(); ++i)
        EXPECT_EQ(masked.labels[i], i < prompt ? kIgnoreLabel : masked.input_ids[i]);
    const int64_t size = static_cast<int64_t>(all.input_ids.size());
    const EncodedExample cut = backend->encode(pair, {size - 3, false});
    EXPECT_EQ(static_cast<int64_t>(cut.input_ids.size()), size - 3);
    EXPECT_EQ(cut.input_ids.front(), 1) << "BOS stays";
    EXPECT_GT(cut.cut_tokens, 0);
    EXPECT_FALSE(cut.lost_target);
    EXPECT_TRUE(backend->encode(pair, {3, false}).lost_target);
}

} // namespace
} // namespace dorabench
