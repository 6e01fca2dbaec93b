// Every BART and VL-BART fixture against what the reference implementation computed: pooling, visual
// embedding, states, logits, both losses, gradients, generation.
#include "tests/backends/vlbart/fixture.h"

namespace dorabench {
namespace {

using nlohmann::json;
using test::worst;

class VlbartGolden : public testing::TestWithParam<const char*> {
protected:
    void SetUp() override {
        DORABENCH_NEEDS_SHARED();
        folder = test::shared_dir() + "/golden/bart/" + GetParam();
        BackendSettings settings;
        settings.checkpoint = folder + "/checkpoint";
        settings.device = "cpu";
        settings.options["dropout"] = "0"; // the references were computed without
        backend = std::make_unique<VlbartBackend>(settings, 0);
        for (NamedTensor& t : read_tensors(folder + "/expected.safetensors"))
            expected[t.name] = t.tensor.clone();
        visual = expected.count("vis.feats") > 0;
    }
    int64_t count() { return expected["input_ids"].size(0); }
    int64_t images() { return expected.count("vis.img_order_ids") ? 2 : 1; }
    Ids row(const std::string& name, int64_t b, int64_t without) {
        Ids out;
        const at::Tensor ids = expected[name][b];
        for (int64_t t = 0; t < ids.size(0); ++t)
            if (ids[t].item<int64_t>() != without) out.push_back(ids[t].item<int64_t>());
        return out;
    }
    VisualInput raw(int64_t b) {
        return {expected["vis.feats"][b].contiguous(), expected["vis.boxes"][b].contiguous(), images()};
    }
    BartSource source(int64_t b) {
        BartSource out{row("input_ids", b, backend->model().config().pad), {}};
        if (visual) out.visual = pool_visual(raw(b), backend->model().config().visual, "test");
        return out;
    }
    // The row's features as a user gives them: a file, not pooled yet.
    Media media(int64_t b) {
        Media out;
        if (!visual) return out;
        out.features = dir / cat("features-", b, ".safetensors");
        out.n_images = images();
        const VisualInput input = raw(b);
        write_tensors(out.features, {{"feats", input.feats}, {"boxes", input.boxes}});
        return out;
    }
    std::vector<EncodedExample> batch(LossMean mean) {
        std::vector<EncodedExample> out;
        for (int64_t b = 0; b < count(); ++b) {
            EncodedExample example;
            example.input_ids = row("input_ids", b, backend->model().config().pad);
            example.labels = row("labels", b, kIgnoreLabel);
            example.media = media(b);
            example.loss_mean = mean;
            out.push_back(example);
        }
        return out;
    }
    double mean_loss(const std::vector<EncodedExample>& examples, at::Tensor* loss = nullptr) {
        double weight = 0;
        for (const EncodedExample& example : examples) weight += backend->loss_weight(example);
        at::Tensor mean = backend->loss_sum(examples) / weight;
        if (loss) *loss = mean;
        return mean.item<double>();
    }

    std::string folder;
    std::unique_ptr<VlbartBackend> backend;
    std::map<std::string, at::Tensor> expected;
    test::TempDir dir;
    bool visual = false;
};

TEST_P(VlbartGolden, EncoderStatesAreTheReferences) {
    at::NoGradGuard no_grad;
    BartModel& model = backend->model();
    const int64_t width = expected["input_ids"].size(1);
    for (int64_t b = 0; b < count(); ++b) {
        const BartSource one = source(b);
        const std::array<const BartSource*, 1> sources{&one};
        const int64_t text = static_cast<int64_t>(one.ids.size()), seen = one.visual.rows();
        auto want = [&](const std::string& name) { // text without its padding, then what is seen
            const at::Tensor all = expected.at(name)[b];
            return at::cat({all.narrow(0, 0, text), all.narrow(0, width, seen)}, 0);
        };
        std::vector<PackedRow> rows;
        std::vector<at::Tensor> states;
        const at::Tensor last = model.encode(sources, rows, &states);
        states.push_back(last);
        EXPECT_EQ(rows.at(0).end, text + seen);
        if (visual) {
            const std::array<const VisualInput*, 1> inputs{&one.visual};
            EXPECT_EQ(worst(one.visual.feats, expected["vis.feats_downsampled"][b]), 0);
            EXPECT_EQ(worst(one.visual.boxes, expected["vis.boxes_downsampled"][b]), 0);
            EXPECT_LT(worst(model.visual()->forward(inputs), expected["vis.embedding"][b]), 1e-4);
            EXPECT_LT(worst(states.front(), want("encoder.input")), 1e-4);
            EXPECT_LT(worst(last, want("encoder.last_hidden_state")), 1e-4);
        } else {
            for (size_t i = 0; i < states.size(); ++i)
                EXPECT_LT(worst(states[i], want(cat("encoder.hidden_states.", i))), 1e-4) << i;
        }
    }
}

TEST_P(VlbartGolden, DecoderStatesAndLogitsAreTheReferences) {
    at::NoGradGuard no_grad;
    BartModel& model = backend->model();
    for (int64_t b = 0; b < count(); ++b) {
        const BartSource one = source(b);
        const std::array<const BartSource*, 1> sources{&one};
        const Ids labels = row("labels", b, kIgnoreLabel), inputs = shifted_right(labels, model.config());
        const int64_t n = static_cast<int64_t>(inputs.size());
        std::vector<PackedRow> rows;
        const at::Tensor memory = model.encode(sources, rows);
        const at::Tensor ids = at::from_blob(const_cast<int64_t*>(inputs.data()), {n}, at::kLong);
        EXPECT_TRUE(ids.equal(expected["decoder_input_ids"][b].narrow(0, 0, n)));
        std::vector<at::Tensor> states;
        const at::Tensor h = model.decode_rows(model.decoder_input(ids, at::arange(n, at::kLong)), {{0, n}},
                                               memory, rows, &states);
        states.push_back(h);
        EXPECT_LT(worst(model.logits(h), expected["logits"][b].narrow(0, 0, n)), 1e-4);
        if (visual) continue;
        for (size_t i = 0; i < states.size(); ++i)
            EXPECT_LT(worst(states[i], expected.at(cat("decoder.hidden_states.", i))[b].narrow(0, 0, n)),
                      1e-4)
                << i;
    }
}

TEST_P(VlbartGolden, LossAndGradientsAreTheReferences) {
    std::map<std::string, at::Tensor> parameters;
    for (NamedTensor& p : backend->parameters()) parameters[p.name] = p.tensor.requires_grad_(true);
    const auto examples = batch(LossMean::tokens);
    for (bool checkpointing : {false, true}) {
        backend->set_training(true);
        backend->set_gradient_checkpointing(checkpointing);
        for (auto& [name, parameter] : parameters) parameter.mutable_grad() = at::Tensor();
        at::Tensor loss;
        EXPECT_NEAR(mean_loss(examples, &loss), expected["loss"].item<double>(), 1e-5);
        loss.backward();
        int compared = 0;
        for (const auto& [name, want] : expected) {
            if (name.rfind("grad.", 0) != 0) continue;
            std::string own = name.substr(5);
            own = (own.rfind("visual_embedding", 0) == 0 ? "model.encoder." : "model.") + own;
            const at::Tensor got = parameters.at(own).grad();
            ASSERT_TRUE(got.defined()) << own;
            EXPECT_LE(worst(got, want), 1e-4 * want.abs().max().item<double>())
                << own << " " << checkpointing;
            ++compared;
        }
        EXPECT_EQ(compared, 6);
        for (const auto& [name, parameter] : parameters) EXPECT_TRUE(parameter.grad().defined()) << name;
    }
}

TEST_P(VlbartGolden, AnswersWithScoresAreTheMeanOfTheirOwnTokens) {
    if (!visual) GTEST_SKIP() << "the fixture has no answers with scores";
    auto examples = batch(LossMean::automatic);
    for (int64_t b = 0; b < count(); ++b) {
        examples[b].weight = expected["vqa.scores"][b].item<double>();
        EXPECT_EQ(backend->loss_weight(examples[b]), 1);
    }
    EXPECT_NEAR(mean_loss(examples), expected["vqa.loss"].item<double>(), 1e-5);
}

TEST_P(VlbartGolden, GenerationIsTheReferences) {
    int compared = 0;
    const json cases = json::parse(read_file(folder + "/generate.json"))["cases"];
    for (const json& c : cases) {
        const json& o = c["options"];
        if (o.contains("num_return_sequences")) continue; // several answers a prompt: not offered
        GenerateOptions options;
        options.max_new_tokens = c["max_new_tokens"];
        options.num_beams = o.value("num_beams", 1);
        options.length_penalty = o.value("length_penalty", 1.0);
        options.min_new_tokens = o.value("min_new_tokens", 0);
        options.no_repeat_ngram_size = o.value("no_repeat_ngram_size", 0);
        options.repetition_penalty = o.value("repetition_penalty", 1.0);
        if (o.contains("early_stopping"))
            options.early_stopping = o["early_stopping"].is_string() ? "never"
                                     : o["early_stopping"]           ? "true"
                                                                     : "false";
        for (auto [key, into] : {std::pair{"forced_eos_token_id", &options.forced_eos_token_id},
                                 std::pair{"forced_bos_token_id", &options.forced_bos_token_id}})
            if (o.contains(key)) *into = o[key].is_null() ? -2 : o[key].get<int64_t>();
        std::vector<Request> requests(count());
        for (int64_t b = 0; b < count(); ++b) {
            requests[b].has_ids = true;
            requests[b].context_ids = row("input_ids", b, backend->model().config().pad);
            requests[b].media = media(b);
            requests[b].generate = options;
        }
        for (int64_t size : {0, 1, 2}) {
            std::vector<Ids> got(count());
            backend->respond(requests, size, [&](size_t i, Response response) { got[i] = response.ids; });
            for (int64_t b = 0; b < count(); ++b) {
                Ids want = c["sequences"][b].get<Ids>();
                want.erase(want.begin());
                EXPECT_EQ(got[b], want) << c["name"] << " row " << b << " batch " << size;
                ++compared;
            }
        }
    }
    EXPECT_GT(compared, 60);
}

INSTANTIATE_TEST_SUITE_P(All, VlbartGolden,
                         testing::Values("bart", "bart_scaled", "vlbart", "vlbart_grid", "vlbart_nlvr",
                                         "vlbart_video"));

} // namespace
} // namespace dorabench
