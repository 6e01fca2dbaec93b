// The backend's promises: the batch, the cache and gradient checkpointing change nothing; rows are cut and
// counted where the contract says; scores are the model's own.
#include "backends/ops/nf4.h"
#include "backends/vlbart/row_attention.h"
#include "harness/base/text.h"
#include "tests/backends/vlbart/fixture.h"
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using testing::HasSubstr;

class Vlbart : public testing::Test {
protected:
    void SetUp() override {
        test::write_bart(dir, test::small_bart_json(true));
        backend = test::open_bart(dir);
        // sources of several lengths, without and with one or two images
        for (int i = 0; i < 9; ++i) {
            Request request;
            request.id = std::to_string(i);
            request.has_ids = true;
            request.context_ids = {0};
            for (int t = 0; t < 1 + (i * 5) % 7; ++t)
                request.context_ids.push_back(4 + (i * 13 + t * 7) % 80);
            request.context_ids.push_back(2);
            if (i % 3 > 0) {
                request.media.n_images = i % 3;
                request.media.features =
                    test::write_features(dir, cat("f", i, ".safetensors"), 4 * request.media.n_images, 12, i);
            }
            request.generate.max_new_tokens = 8;
            request.generate.num_beams = 1 + i % 4;
            requests.push_back(request);
        }
    }
    std::vector<Response> respond(const std::vector<Request>& all, int64_t batch) {
        std::vector<Response> out(all.size());
        std::vector<int> reported(all.size());
        backend->respond(all, batch, [&](size_t i, Response response) { out[i] = response, ++reported[i]; });
        for (int times : reported) EXPECT_EQ(times, 1);
        return out;
    }
    std::string refusal(Request request) {
        try {
            respond({request}, 0);
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::data);
            return e.what();
        }
        return "answered";
    }
    EncodedExample example(size_t i, Ids labels) {
        EncodedExample out;
        out.input_ids = requests[i].context_ids;
        out.media = requests[i].media;
        out.labels = std::move(labels);
        return out;
    }

    test::TempDir dir;
    std::unique_ptr<VlbartBackend> backend;
    std::vector<Request> requests;
};

TEST_F(Vlbart, AnswersDoNotDependOnTheBatch) {
    const auto together = respond(requests, 0);
    size_t longest = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
        const auto alone = respond({requests[i]}, 1);
        EXPECT_EQ(alone[0].ids, together[i].ids) << i;
        EXPECT_EQ(alone[0].finish_reason, together[i].finish_reason);
        longest = std::max(longest, alone[0].ids.size());
    }
    EXPECT_GT(longest, 3u);
    EXPECT_NE(together[1].ids, together[4].ids); // the requests are not all answered alike
    for (int64_t batch : {1, 2, 5}) {
        const auto got = respond(requests, batch);
        for (size_t i = 0; i < requests.size(); ++i)
            EXPECT_EQ(got[i].ids, together[i].ids) << i << " " << batch;
    }
}

TEST_F(Vlbart, FeaturesChangeTheAnswer) {
    Request with = requests[1], without = with;
    without.media = {};
    with.kind = without.kind = Request::Kind::score;
    with.continuation_ids = without.continuation_ids = {0, 7, 2};
    const auto got = respond({with, without}, 0);
    EXPECT_GT(std::abs(got[0].loglikelihood - got[1].loglikelihood), 1e-4);
}

TEST_F(Vlbart, StepsWithACacheAreThePassOverTheWhole) {
    at::NoGradGuard no_grad;
    BartModel& model = backend->model();
    std::vector<BartPrompt> prompts;
    for (const Request& r : requests) prompts.push_back({r.context_ids, r.media, r.id});
    BartDecoder decoder(model, prompts);
    // rows: which request each continues, and its tokens so far
    std::vector<std::pair<size_t, Ids>> rows;
    auto check = [&](const at::Tensor& scores, size_t from) {
        for (size_t i = from; i < rows.size(); ++i) {
            const Request& r = requests[rows[i].first];
            const BartSource source{r.context_ids, read_visual(r.media, model.config().visual, "test")};
            const std::array<const BartSource*, 1> one{&source};
            std::vector<PackedRow> memory_rows;
            const at::Tensor memory = model.encode(one, memory_rows);
            Ids ids{model.config().start};
            ids.insert(ids.end(), rows[i].second.begin(), rows[i].second.end());
            const int64_t n = static_cast<int64_t>(ids.size());
            const at::Tensor x =
                model.decoder_input(at::from_blob(ids.data(), {n}, at::kLong), at::arange(n, at::kLong));
            const at::Tensor h = model.decode_rows(x, {{0, n}}, memory, memory_rows);
            EXPECT_LT(test::worst(model.logits(h.narrow(0, n - 1, 1))[0], scores[int64_t(i - from)]), 1e-4)
                << i;
        }
    };
    auto start = [&](const std::vector<int64_t>& which) {
        const size_t from = rows.size();
        for (int64_t p : which) rows.push_back({size_t(p), {}});
        check(decoder.start(which), from);
    };
    auto step = [&](const std::vector<int64_t>& parents, const std::vector<int64_t>& tokens) {
        std::vector<std::pair<size_t, Ids>> next;
        for (size_t i = 0; i < parents.size(); ++i) {
            next.push_back(rows[parents[i]]);
            next.back().second.push_back(tokens[i]);
        }
        rows = next;
        check(decoder.step(parents, tokens), 0);
    };
    start({0, 2, 5});
    step({0, 0, 2, 1}, {5, 9, 11, 13}); // one row branches, the others change places
    start({7, 1});
    step({3, 1, 1, 4}, {20, 21, 22, 23});
    step({2, 0, 3}, {2, 1, 40});
}

TEST_F(Vlbart, TheCacheStaysBoundedOverManyRequests) {
    std::vector<BartPrompt> prompts(200, {{0, 5, 6, 7, 8, 9, 2}, {}, "test"});
    BartDecoder decoder(backend->model(), prompts);
    at::NoGradGuard no_grad;
    for (int64_t p = 0; p < 200; ++p) {
        decoder.start(std::vector<int64_t>{p});
        decoder.step(std::vector<int64_t>{p == 0 ? 0 : 1}, std::vector<int64_t>{7}); // the older row is gone
    }
    EXPECT_LT(decoder.buffer_rows(), 1200);
}

TEST_F(Vlbart, ScoresAreTheSumOfTheTargetsLogProbabilities) {
    at::NoGradGuard no_grad;
    std::vector<Request> scores;
    for (size_t i = 0; i < requests.size(); ++i)
        for (const Ids& target : {Ids{0, 9, 33, 2}, Ids{0, 10}, Ids{}}) {
            scores.push_back(requests[i]);
            scores.back().kind = Request::Kind::score;
            scores.back().continuation_ids = target;
        }
    const auto got = respond(scores, 0);
    for (size_t i = 0; i < scores.size(); ++i) {
        const Ids& target = scores[i].continuation_ids;
        EXPECT_EQ(got[i].tokens, static_cast<int64_t>(target.size()));
        if (target.empty()) {
            EXPECT_EQ(got[i].loglikelihood, 0);
            EXPECT_TRUE(got[i].is_greedy);
            continue;
        }
        EncodedExample one = example(i / 3, target);
        one.loss_mean = LossMean::tokens;
        EXPECT_NEAR(-got[i].loglikelihood, backend->loss_sum(std::span(&one, 1)).item<double>(), 1e-4);
    }
    for (int64_t batch : {1, 2, 7}) {
        const auto again = respond(scores, batch);
        for (size_t i = 0; i < scores.size(); ++i) {
            EXPECT_NEAR(again[i].loglikelihood, got[i].loglikelihood, 1e-5);
            EXPECT_EQ(again[i].is_greedy, got[i].is_greedy);
        }
    }
}

TEST_F(Vlbart, AGreedyAnswerIsItsOwnGreedyScore) {
    Request request = requests[2];
    request.generate.num_beams = 1;
    const Ids answer = respond({request}, 0)[0].ids;
    request.kind = Request::Kind::score;
    request.continuation_ids = answer;
    EXPECT_TRUE(respond({request}, 0)[0].is_greedy);
    request.continuation_ids.back() = (answer.back() + 1) % 90;
    EXPECT_FALSE(respond({request}, 0)[0].is_greedy);
}

TEST_F(Vlbart, TheLossOfABatchIsTheSumOfItsExamples) {
    std::vector<EncodedExample> batch;
    for (size_t i = 0; i < requests.size(); ++i) {
        batch.push_back(example(i, {0, int64_t(5 + i), kIgnoreLabel, 9, 2}));
        batch.back().labels.resize(2 + i % 4, 11);
        if (i % 2) batch.back().weight = 0.25 * double(i);
    }
    double sum = 0;
    for (EncodedExample& one : batch) sum += backend->loss_sum(std::span(&one, 1)).item<double>();
    EXPECT_NEAR(backend->loss_sum(batch).item<double>(), sum, 1e-4 * std::abs(sum));
    EXPECT_EQ(backend->loss_sum({}).item<double>(), 0);
    EncodedExample text = example(0, {0, 5, kIgnoreLabel, 2}); // plain text: every token counts
    EXPECT_EQ(backend->loss_weight(text), 3);
    text.loss_mean = LossMean::example;
    EXPECT_EQ(backend->loss_weight(text), 1);
    EXPECT_EQ(backend->loss_weight(example(1, {0, 5, kIgnoreLabel, 2})), 1); // features: the mean of its own
    EXPECT_EQ(backend->loss_weight(example(1, {kIgnoreLabel})), 0);
}

TEST_F(Vlbart, MathAttentionAndLowPrecisionAreNear) {
    const Ids ids{0, 9, 33, 60, 2};
    const at::Tensor exact = backend->probe_logits(ids);
    EXPECT_EQ(exact.sizes().vec(), (std::vector<int64_t>{5, 90}));
    BackendSettings settings;
    settings.checkpoint = dir.path(), settings.device = "cpu", settings.attention = "math";
    EXPECT_LT(test::worst(VlbartBackend(settings, 0).probe_logits(ids), exact), 1e-4);
    auto low = test::open_bart(dir, "", 0, "bfloat16");
    for (const NamedTensor& p : low->parameters()) EXPECT_EQ(p.tensor.scalar_type(), at::kBFloat16) << p.name;
    EXPECT_LT(test::worst(low->probe_logits(ids), exact), 0.1 * exact.abs().max().item<double>());
    EncodedExample one = example(2, {0, 9, 2});
    EXPECT_NEAR(low->loss_sum(std::span(&one, 1)).item<double>(),
                backend->loss_sum(std::span(&one, 1)).item<double>(), 0.2);
}

// The trainer sets torch's generator from the run's seed, the step and the micro-batch.
TEST_F(Vlbart, ModelDropoutIsAFunctionOfTheGeneratorsSeedAndOfTrainingAlone) {
    BackendSettings settings;
    settings.checkpoint = dir.path(), settings.device = "cpu";
    settings.options["dropout"] = "0.3";
    VlbartBackend dropping(settings, 0);
    const std::vector<EncodedExample> batch{example(1, {5, 6, 2}), example(2, {7, 2}), example(0, {8, 9, 2})};
    auto loss = [&](uint64_t seed) {
        at::manual_seed(seed);
        return dropping.loss_sum(batch).item<double>();
    };
    const double plain = loss(1);
    EXPECT_EQ(plain, loss(2)) << "not training: no masks";
    dropping.set_training(true);
    const double first = loss(1);
    EXPECT_EQ(first, loss(1));
    EXPECT_NE(first, loss(2));
    EXPECT_NE(first, plain);
    dropping.set_training(false);
    EXPECT_EQ(plain, loss(1));
}

TEST_F(Vlbart, ACheckpointedLayerMeetsItsMasksAgain) {
    BackendSettings settings;
    settings.checkpoint = dir.path(), settings.device = "cpu";
    settings.options["dropout"] = "0.2";
    VlbartBackend dropping(settings, 0);
    std::vector<NamedTensor> parameters = dropping.parameters();
    for (NamedTensor& p : parameters) p.tensor.requires_grad_(true);
    const std::vector<EncodedExample> batch{example(1, {5, 6, 2}), example(2, {7, 2})};
    dropping.set_training(true);
    std::vector<at::Tensor> gradients;
    for (const bool checkpointing : {false, true}) {
        dropping.set_gradient_checkpointing(checkpointing);
        at::manual_seed(3);
        dropping.loss_sum(batch).backward();
        for (size_t i = 0; i < parameters.size(); ++i) {
            const at::Tensor gradient = parameters[i].tensor.grad();
            ASSERT_TRUE(gradient.defined()) << parameters[i].name;
            if (!checkpointing)
                gradients.push_back(gradient.clone());
            else
                EXPECT_LT(test::worst(gradient, gradients[i]), 1e-4) << parameters[i].name;
            parameters[i].tensor.mutable_grad() = at::Tensor();
        }
    }
}

TEST(VlbartDropout, OfNearlyNothingIsTheAttentionItself) {
    at::Tensor q = at::empty({7, 2, 4}, at::kFloat), k = at::empty({7, 2, 4}, at::kFloat),
               v = at::empty({7, 2, 4}, at::kFloat);
    fill_normal(q, 1, 1), fill_normal(k, 2, 1), fill_normal(v, 3, 1);
    const std::vector<PackedRow> rows{{0, 2}, {2, 4}, {4, 7}};
    EXPECT_LT(test::worst(dropped_attention(q, k, v, rows, rows, false, 1e-12, {1}),
                          row_attention(q, k, v, rows, rows, true)),
              1e-5);
    EXPECT_LT(test::worst(dropped_attention(q, k, v, rows, rows, true, 1e-12, {1}),
                          causal_attention(q, k, v, rows, true)),
              1e-5);
    EXPECT_GT(test::worst(dropped_attention(q, k, v, rows, rows, true, 0.5, {1}),
                          causal_attention(q, k, v, rows, true)),
              1e-2);
}

TEST(VlbartDropout, TheGradientIsTheMask) {
    at::Tensor x = at::ones({50, 40}, at::kFloat).requires_grad_(true);
    const at::Tensor y = model_dropout(x, 0.25, {9, 0, 1, 4});
    y.sum().backward();
    EXPECT_EQ(test::worst(y.detach(), x.grad()), 0);
    EXPECT_NEAR(x.grad().mean().item<double>(), 1, 0.05);
    EXPECT_NEAR((x.grad() == 0).to(at::kDouble).mean().item<double>(), 0.25, 0.03);
    EXPECT_TRUE(model_dropout(x, 0, {}).is_same(x));
}

// Only storage changes: the answers, losses and gradients are those of a checkpoint with the dequantised
// weights.
TEST_F(Vlbart, AnNf4BaseAnswersAndTrainsAsItsDequantisedWeights) {
    test::TempDir packed_dir;
    test::write_bart(packed_dir, test::small_bart_json(true), [](Weights& weights) {
        for (auto& [name, tensor] : weights)
            if (ends_with(name, "_proj.weight") || ends_with(name, "fc1.weight") ||
                ends_with(name, "fc2.weight"))
                tensor = nf4_dequantise(*nf4_quantise(tensor, true), at::kFloat);
    });
    const auto dense = test::open_bart(packed_dir);
    BackendSettings settings;
    settings.checkpoint = dir.path(), settings.device = "cpu", settings.quantization = "nf4";
    VlbartBackend packed(settings, 0);
    const Ids ids{0, 9, 33, 60, 2};
    EXPECT_LT(test::worst(packed.probe_logits(ids), dense->probe_logits(ids)), 1e-4);
    EXPECT_GT(test::worst(packed.probe_logits(ids), backend->probe_logits(ids)), 1e-3);
    for (LinearSite* site : packed.sites()) EXPECT_TRUE(site->base().packed()) << site->path();
    EncodedExample one = example(2, {0, 9, 2});
    std::vector<at::Tensor> grads;
    for (VlbartBackend* model : {&packed, dense.get()}) {
        for (NamedTensor& p : model->parameters())
            if (p.name == "model.encoder.layers.0.self_attn.q_proj.bias") {
                p.tensor.set_requires_grad(true);
                model->loss_sum(std::span(&one, 1)).backward();
                grads.push_back(p.tensor.grad());
                p.tensor.set_requires_grad(false);
            }
    }
    ASSERT_EQ(grads.size(), 2u);
    EXPECT_LT(test::worst(grads[0], grads[1]), 1e-4);
    EXPECT_GT(grads[0].abs().max().item<double>(), 0);
}

TEST_F(Vlbart, SettingsThatAreNotCoveredAreRefused) {
    for (auto change : {+[](BackendSettings& s) { s.attention = "flash"; },
                        +[](BackendSettings& s) { s.quantization = "int3"; },
                        +[](BackendSettings& s) { s.options["colour"] = "red"; },
                        +[](BackendSettings& s) { s.options["visual"] = "sound"; },
                        +[](BackendSettings& s) { s.options["visual"] = "image"; }}) { // it has a visual part
        BackendSettings settings;
        settings.checkpoint = dir.path(), settings.device = "cpu";
        change(settings);
        try {
            VlbartBackend(settings, 0);
            ADD_FAILURE() << "accepted";
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::config) << e.what();
        }
    }
}

TEST_F(Vlbart, IdsOutsideTheVocabularyAndTheTableAreRefused) {
    Request request = requests[0];
    request.context_ids = {0, 90};
    EXPECT_THAT(refusal(request), HasSubstr("[0, 90)"));
    request.context_ids = {};
    EXPECT_THAT(refusal(request), HasSubstr("at least one token"));
    request = requests[0];
    request.kind = Request::Kind::score;
    request.continuation_ids = {-100};
    EXPECT_THAT(refusal(request), HasSubstr("continuation_ids"));
    request.continuation_ids = Ids(25, 7);
    EXPECT_THAT(refusal(request), HasSubstr("at most 24"));
    request.has_ids = false, request.context = "text";
    EXPECT_THAT(refusal(request), HasSubstr("tokenizer"));
    EXPECT_THROW(backend->probe_logits({}), Error);
    EXPECT_THROW(backend->probe_logits({3, 90}), Error);
    EXPECT_THROW(backend->probe_logits(Ids(25, 7)), Error);
    EncodedExample one = example(0, {0, 95});
    EXPECT_THROW(backend->loss_sum(std::span(&one, 1)), Error);
}

TEST_F(Vlbart, SourcesAreCutOnTheRightAndTargetsNever) {
    TrainingPair pair;
    pair.source = "data:1";
    pair.labels = {0, 5, kIgnoreLabel, 2, kIgnoreLabel, kIgnoreLabel};
    for (int64_t t = 0; t < 40; ++t) pair.input_ids.push_back(3 + t);
    pair.input_ids.push_back(2);
    EncodedExample got = backend->encode(pair, {10, false});
    EXPECT_EQ(got.input_ids, (Ids{3, 4, 5, 6, 7, 8, 9, 10, 11, 2})); // the end token stays
    EXPECT_EQ(got.cut_tokens, 31);
    EXPECT_EQ(got.labels, (Ids{0, 5, kIgnoreLabel, 2}));
    EXPECT_FALSE(got.lost_target);
    EXPECT_EQ(backend->encode(pair, {256, false}).input_ids.size(), 24u); // the positions
    pair.labels = Ids(25, 7);
    EXPECT_TRUE(backend->encode(pair, {256, false}).lost_target);
    pair.labels = {kIgnoreLabel};
    EXPECT_TRUE(backend->encode(pair, {256, false}).lost_target);
    pair.labels = {90};
    EXPECT_THROW(backend->encode(pair, {256, false}), Error);
    pair.labels = {5}, pair.input_ids = {};
    EXPECT_THROW(backend->encode(pair, {256, false}), Error);

    Request request = requests[0];
    request.context_ids = Ids(30, 9);
    request.generate.max_new_tokens = 1000;
    const Response response = respond({request}, 0)[0];
    EXPECT_EQ(response.cut_tokens, 6);
    EXPECT_EQ(response.prompt_tokens, 24);
    EXPECT_LE(response.ids.size(), 24u);
}

TEST(VlbartText, TargetsStandBetweenTheTokenizersSpecialTokens) {
    DORABENCH_NEEDS_SHARED();
    const auto tokenizer = load_tokenizer(test::shared_dir() + "/golden/tokenizers/bart");
    const BartConfig config = named_bart_config("bart-base");
    const BartVocabulary words{tokenizer.get(), &config, ""};
    TrainingPair pair;
    pair.source = "data:1", pair.prompt = "vqa: what is it?", pair.target = "a dog", pair.weight = 0.3;
    const EncodedExample got = encode_bart(pair, {256, false}, words);
    EXPECT_EQ(got.input_ids.front(), 0);
    EXPECT_EQ(got.input_ids.back(), 2);
    EXPECT_EQ(got.labels.front(), 0);
    EXPECT_EQ(got.labels.back(), 2);
    EXPECT_EQ(tokenizer->decode(got.labels, true), "a dog");
    EXPECT_EQ(shifted_right(got.labels, config).front(), 2);
    EXPECT_EQ(got.weight, 0.3);
    const EncodedExample cut = encode_bart(pair, {4, false}, words);
    EXPECT_EQ(cut.input_ids.size(), 4u);
    EXPECT_EQ(cut.input_ids.back(), 2);
    // a task's own limits, special tokens counted; the answers of an epoch's drawing are cut likewise
    pair.max_prompt = 5, pair.max_target = 3;
    pair.soft_targets = {{"a dog", 0.3}, {"cat", 1}};
    const EncodedExample limited = encode_bart(pair, {256, false}, words);
    EXPECT_EQ(limited.input_ids.size(), 5u);
    EXPECT_EQ(limited.input_ids.back(), 2);
    EXPECT_EQ(limited.labels, (Ids{0, got.labels[1], 2}));
    EXPECT_EQ(limited.cut_tokens, int64_t(got.input_ids.size()) - 5 + 1);
    ASSERT_EQ(limited.soft_targets.size(), 2u);
    EXPECT_EQ(limited.soft_targets[0].labels, limited.labels);
    EXPECT_EQ(limited.soft_targets[1].weight, 1);
    EXPECT_EQ(limited.soft_targets[1].labels, (Ids{0, tokenizer->encode("cat", true)[1], 2}));
    Request asked;
    asked.context = pair.prompt, asked.max_context = 5;
    int64_t gone = 0;
    EXPECT_EQ(source_of(asked, words, gone), limited.input_ids); // evaluation asks what training saw
    EXPECT_EQ(gone, int64_t(got.input_ids.size()) - 5);
    Request request;
    request.kind = Request::Kind::score;
    request.context = "nlvr: ", request.continuation = "true";
    const ScoredTarget target = scored_target(request, words);
    EXPECT_EQ(target.given, (Ids{0})); // BART's <s> is given, as NLVR2's decoding does
    EXPECT_EQ(target.scored, tokenizer->encode("true", false));
}

} // namespace
} // namespace dorabench
