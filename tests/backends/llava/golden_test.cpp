// The LLaVA fixture against what the reference implementation computed, from all checkpoint layouts:
// features, logits, loss, gradients, generation.
#include "backends/llava/backend.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/files.h"
#include "tests/support/llava_fixture.h"
#include <ATen/ops/full.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

class LlavaGolden : public testing::TestWithParam<const char*> {
protected:
    void SetUp() override {
        DORABENCH_NEEDS_SHARED();
        folder = test::llava_folder();
        backend = std::make_unique<LlavaBackend>(test::llava_settings(GetParam()), 0);
        for (NamedTensor& t : read_tensors(folder + "/expected.safetensors"))
            expected[t.name] = t.tensor.clone();
        generate = json::parse(read_file(folder + "/generate.json"));
    }
    bool original() const { return GetParam() == std::string("checkpoint_llava"); }
    int64_t image_id() const { return original() ? -200 : 99; }
    static double worst(const at::Tensor& a, const at::Tensor& b) {
        return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
    }
    // Row b of the right-padded batch with its labels; the fixture has one id a patch.
    TrainingPair row(int64_t b) {
        TrainingPair pair;
        pair.source = "fixture";
        pair.media.images = {test::llava_image(static_cast<int>(b))};
        for (int64_t t = 0; t < expected["input_ids"].size(1); ++t) {
            if (expected["attention_mask"][b][t].item<int64_t>() == 0) continue;
            pair.input_ids.push_back(expected["input_ids"][b][t].item<int64_t>());
            if (pair.input_ids.back() == 99) pair.input_ids.back() = image_id();
            pair.labels.push_back(expected["labels"][b][t].item<int64_t>());
        }
        return pair;
    }

    std::string folder;
    std::unique_ptr<LlavaBackend> backend;
    std::map<std::string, at::Tensor> expected;
    json generate;
};

TEST_P(LlavaGolden, PixelsAndFeaturesAreTheReferences) {
    const std::vector<std::string> files{test::llava_image(0), test::llava_image(1)};
    const auto features = backend->image_embeddings(files);
    for (int64_t i = 0; i < 2; ++i) {
        EXPECT_LT(worst(backend->images().pixels(files[i]), expected["pixel_values"][i]), 1e-5);
        EXPECT_LT(worst(features[i], expected["image_features"][i]), 1e-4);
    }
}

TEST_P(LlavaGolden, LogitsAreTheReferences) {
    at::NoGradGuard no_grad;
    for (int64_t b = 0; b < 2; ++b) {
        const EncodedExample example = backend->encode(row(b), {256, true});
        EXPECT_EQ(std::count(example.input_ids.begin(), example.input_ids.end(), kImageMark), 1);
        ImageBook book;
        Codes codes;
        size_t next = 0;
        append_codes(example.input_ids, 0, example.input_ids.size(), example.media.images, next, 16, book,
                     codes);
        const int64_t n = static_cast<int64_t>(codes.size());
        EXPECT_EQ(n, expected["attention_mask"][b].sum().item<int64_t>());
        LlamaModel& model = backend->model();
        at::Tensor h = model.forward_rows(backend->embed(codes, book), at::arange(n, at::kLong), {{0, n}});
        EXPECT_LT(worst(model.logits(h), expected["logits"][b].narrow(0, 0, n)), 1e-4);
    }
    at::Tensor text = expected["text_only.input_ids"][0].contiguous();
    const Ids ids(text.const_data_ptr<int64_t>(), text.const_data_ptr<int64_t>() + text.numel());
    EXPECT_LT(worst(backend->probe_logits(ids), expected["logits.text_only"][0]), 1e-4);
}

TEST_P(LlavaGolden, LossAndGradientsAreTheReferences) {
    std::map<std::string, at::Tensor> parameters;
    std::map<std::string, bool> frozen;
    for (const ParameterShape& p : backend->shapes().parameters) frozen[p.name] = p.frozen;
    for (NamedTensor& p : backend->parameters())
        if (!frozen.at(p.name)) parameters[p.name] = p.tensor.requires_grad_(true);
    std::vector<EncodedExample> batch;
    double weight = 0;
    for (int64_t b = 0; b < 2; ++b) {
        batch.push_back(backend->encode(row(b), {256, true}));
        weight += backend->loss_weight(batch.back());
    }
    at::Tensor loss = backend->loss_sum(batch) / weight;
    EXPECT_NEAR(loss.item<double>(), expected["loss"].item<double>(), 1e-5);
    loss.backward();
    const std::string body = original() ? "model." : "language_model.model.";
    const std::string first = original() ? "model.mm_projector.0" : "multi_modal_projector.linear_1";
    const std::string second = original() ? "model.mm_projector.2" : "multi_modal_projector.linear_2";
    const std::map<std::string, std::string> names{
        {"embed_tokens.weight", "language_model.embed_tokens.weight"},
        {"layers.0.self_attn.q_proj.weight", "language_model.layers.0.self_attn.q_proj.weight"}};
    auto expect = [&](const std::string& ours, const std::string& theirs) {
        const at::Tensor want = expected.at("grad.model." + theirs);
        ASSERT_TRUE(parameters.count(ours)) << ours;
        ASSERT_TRUE(parameters[ours].grad().defined()) << ours;
        EXPECT_LT(worst(parameters[ours].grad(), want), 1e-4 * want.abs().max().item<double>()) << ours;
    };
    for (const auto& [ours, theirs] : names) expect(body + ours, theirs);
    expect(first + ".weight", "multi_modal_projector.linear_1.weight");
    expect(second + ".bias", "multi_modal_projector.linear_2.bias");
    // every further gradient that the fixture holds
    for (const auto& [name, want] : expected) {
        const std::string head = "grad.model.language_model.";
        if (name.rfind(head, 0) == 0) expect(body + name.substr(head.size()), name.substr(11));
    }
}

// Nothing trains the image encoder, but its forward is differentiable, and the reference holds its gradient.
TEST_P(LlavaGolden, TheGradientOfTheImageEncoderIsTheReferences) {
    const ClipVision& tower = backend->images().tower();
    at::Tensor patch;
    for (auto& [name, tensor] : tower.parameters())
        if (name.ends_with("patch_embedding.weight")) patch = tensor.requires_grad_(true);
    at::Tensor features = backend->projector().forward(tower.features(expected["pixel_values"], -2));
    LlamaModel& model = backend->model();
    at::Tensor sum;
    int64_t targets = 0;
    for (int64_t b = 0; b < 2; ++b) {
        const int64_t n = expected["attention_mask"][b].sum().item<int64_t>();
        at::Tensor ids = expected["input_ids"][b].narrow(0, 0, n), mask = ids.eq(99);
        at::Tensor x = at::cat({model.embed(ids), features[b]}, 0);
        at::Tensor order = at::where(mask, mask.cumsum(0) - 1 + n, at::arange(n, at::kLong));
        at::Tensor labels =
            at::cat({expected["labels"][b].narrow(0, 1, n - 1), at::full({1}, -100, at::kLong)}, 0);
        at::Tensor loss = model.loss(
            model.forward_rows(x.index_select(0, order), at::arange(n, at::kLong), {{0, n}}), labels, {});
        targets += labels.ge(0).sum().item<int64_t>();
        sum = sum.defined() ? sum + loss : loss;
    }
    (sum / static_cast<double>(targets)).backward();
    const at::Tensor want = expected.at("grad.patch_embedding.weight");
    EXPECT_LT(worst(patch.grad(), want), 1e-4 * want.abs().max().item<double>());
}

TEST_P(LlavaGolden, GenerationIsTheReferences) {
    for (const auto& [name, beams] : std::map<std::string, int>{{"greedy", 1}, {"beam3", 3}}) {
        std::vector<Request> requests;
        for (size_t r = 0; r < 2; ++r) {
            Request request;
            request.id = std::to_string(r);
            request.has_ids = true;
            for (int64_t id : generate["llava_input_ids"][r])
                request.context_ids.push_back(id == -200 ? image_id() : id);
            request.media.images = {test::llava_image(static_cast<int>(r))};
            request.generate.num_beams = beams;
            request.generate.max_new_tokens = generate["max_new_tokens"];
            request.generate.eos_set = true;
            requests.push_back(request);
            requests.push_back(request); // the same again: its prefix is shared
            requests.back().id += "b";
        }
        for (int64_t batch : {0, 1, 3}) {
            std::vector<Ids> got(requests.size());
            backend->respond(requests, batch, [&](size_t i, Response response) { got[i] = response.ids; });
            for (size_t i = 0; i < got.size(); ++i)
                EXPECT_EQ(got[i], generate[name][i / 2].get<Ids>()) << name << " " << i << " batch " << batch;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(All, LlavaGolden,
                         testing::Values("checkpoint_hf", "checkpoint_hf_v5", "checkpoint_llava"));

} // namespace
} // namespace dorabench
