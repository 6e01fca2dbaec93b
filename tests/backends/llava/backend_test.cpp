// The backend's promises over random weights: images are encoded once, batches and shared prefixes change no
// answer, a trained projector is seen at once, what is damaged is named.
#include "backends/llava/backend.h"
#include "backends/media/media.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <gmock/gmock.h>
#include <map>

namespace dorabench {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class LlavaBackendTest : public testing::Test {
protected:
    void SetUp() override {
        std::string why;
        if (!media_available(&why)) GTEST_SKIP() << why;
        BackendSettings settings;
        settings.type = "llava", settings.shape = "llava-tiny", settings.device = "cpu";
        backend = std::make_unique<LlavaBackend>(settings, 1);
        for (int i = 0; i < 3; ++i) {
            Image image{40 + 13 * i, 60, {}};
            for (int at = 0; at < image.width * image.height * 3; ++at)
                image.rgb.push_back(static_cast<uint8_t>((at * (7 + 11 * i)) % 251));
            files.push_back(dir / ("image" + std::to_string(i) + ".png"));
            media_library().write_png(files.back(), image);
        }
    }
    EncodedExample example(const Ids& ids, const std::vector<std::string>& images) {
        TrainingPair pair;
        pair.source = "row";
        pair.input_ids = ids;
        pair.media.images = images;
        return backend->encode(pair, {256, true});
    }
    Request request(const std::string& id, const Ids& ids, const std::vector<std::string>& images) {
        Request out;
        out.id = id, out.has_ids = true, out.context_ids = ids, out.media.images = images;
        out.generate.eos_set = true, out.generate.max_new_tokens = 6;
        return out;
    }
    std::vector<Response> answers(const std::vector<Request>& requests, int64_t batch = 0) {
        std::vector<Response> out(requests.size());
        backend->respond(requests, batch, [&](size_t i, Response response) { out[i] = response; });
        return out;
    }
    std::string refusal(const Request& one) {
        try {
            answers({one});
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::data);
            return e.what();
        }
        return "accepted";
    }
    at::Tensor projector_weight() {
        for (NamedTensor& p : backend->parameters())
            if (p.name == "model.mm_projector.2.weight") return p.tensor;
        return {};
    }

    test::TempDir dir;
    std::vector<std::string> files;
    std::unique_ptr<LlavaBackend> backend;
};

constexpr int64_t kI = kImageMark;

TEST_F(LlavaBackendTest, AnImageIsEncodedOnceByItsContent) {
    std::filesystem::copy_file(files[0], dir / "copy.png");
    const std::vector<EncodedExample> rows{example({1, kI, 5, 6}, {files[0]}),
                                           example({1, kI, 7, 8}, {dir / "copy.png"})};
    for (int epoch = 0; epoch < 3; ++epoch) backend->loss_sum(rows);
    answers({request("a", {1, kI, 5}, {files[0]})});
    EXPECT_EQ(backend->images().encoded(), 1);
    // another content under the same name is another image
    std::filesystem::remove(files[0]);
    std::filesystem::copy_file(files[1], files[0]);
    const double before = backend->loss_sum(std::span(rows).first(1)).item<double>();
    EXPECT_EQ(backend->images().encoded(), 2);
    EXPECT_NE(before, backend->loss_sum(std::span(rows).last(1)).item<double>());
}

TEST_F(LlavaBackendTest, TheCacheStaysWithinItsBound) {
    FeatureCache cache(3 * 16 * 4);
    for (int i = 0; i < 10; ++i) {
        cache.put(std::to_string(i), at::full({16}, double(i)));
        EXPECT_LE(cache.bytes(), 3 * 16 * 4);
        EXPECT_TRUE(cache.find("0").defined()) << i; // asked for again and again: the others go
    }
    EXPECT_EQ(cache.size(), 3u);
    EXPECT_TRUE(cache.find("9").defined());
    EXPECT_FALSE(cache.find("1").defined());
    cache.put("large", at::zeros({64}));
    EXPECT_FALSE(cache.find("large").defined());
}

TEST_F(LlavaBackendTest, ATrainedProjectorIsSeenAtOnce) {
    const std::vector<EncodedExample> rows{example({1, kI, 5, 6}, {files[0]})};
    const double frozen = backend->loss_sum(rows).item<double>();
    at::Tensor weight = projector_weight().requires_grad_(true);
    at::Tensor loss = backend->loss_sum(rows);
    EXPECT_NEAR(loss.item<double>(), frozen, 1e-5);
    loss.backward();
    EXPECT_GT(weight.grad().abs().max().item<double>(), 0);
    const int64_t encoded = backend->images().encoded();
    {
        at::NoGradGuard no_grad;
        weight.mul_(1.5);
    }
    EXPECT_NE(backend->loss_sum(rows).item<double>(), frozen);
    EXPECT_EQ(backend->images().encoded(), encoded); // what is cached lies before the projector
}

// The language model's linear layers alone; the image encoder and the projector stay as they are.
TEST_F(LlavaBackendTest, AnNf4BaseAnswersAndTrainsAsItsDequantisedWeights) {
    BackendSettings settings;
    settings.type = "llava", settings.shape = "llava-tiny", settings.device = "cpu";
    settings.quantization = "nf4";
    LlavaBackend packed(settings, 1);
    const std::vector<EncodedExample> rows{example({1, kI, 5, 6}, {files[0]}), example({1, 7, 8, 9}, {})};
    const double exact = backend->loss_sum(rows).item<double>();
    std::map<std::string, LinearSite*> dense;
    for (LinearSite* site : backend->sites()) dense[site->path()] = site;
    for (LinearSite* site : packed.sites()) {
        EXPECT_EQ(site->base().packed() != nullptr, site->path() != "lm_head") << site->path();
        if (site->base().packed())
            at::Tensor(dense.at(site->path())->base().weight()).copy_(site->base().dense());
    }
    std::vector<at::Tensor> grads, losses;
    for (LlavaBackend* model : {&packed, backend.get()})
        for (NamedTensor& p : model->parameters())
            if (p.name == "model.mm_projector.2.weight") {
                p.tensor.set_requires_grad(true);
                losses.push_back(model->loss_sum(rows));
                losses.back().backward();
                grads.push_back(p.tensor.grad());
            }
    ASSERT_EQ(losses.size(), 2u);
    EXPECT_NEAR(losses[0].item<double>(), losses[1].item<double>(), 1e-4);
    EXPECT_LT((grads[0] - grads[1]).abs().max().item<double>(), 1e-4);
    EXPECT_GT(std::abs(losses[0].item<double>() - exact), 1e-4);
}

TEST_F(LlavaBackendTest, RowsOfABatchDoNotSeeEachOther) {
    const std::vector<EncodedExample> rows{example({1, 5, 6, 7}, {}), example({1, kI, 5, 6, 9}, {files[0]}),
                                           example({1, kI, 5, kI, 6}, {files[1], files[2]}),
                                           example({1, kI, kI, 6}, {files[2], files[2]})};
    double sum = 0;
    for (const EncodedExample& row : rows) sum += backend->loss_sum(std::span(&row, 1)).item<double>();
    EXPECT_NEAR(backend->loss_sum(rows).item<double>(), sum, 1e-4);
    EXPECT_EQ(backend->loss_weight(rows[0]), 3);
    EXPECT_EQ(backend->loss_weight(rows[1]), 3);
    EXPECT_EQ(backend->loss_weight(rows[2]), 2);
    // the order of images counts
    const EncodedExample turned = example({1, kI, 5, kI, 6}, {files[2], files[1]});
    EXPECT_NE(backend->loss_sum(std::span(&turned, 1)).item<double>(),
              backend->loss_sum(std::span(rows).subspan(2, 1)).item<double>());
}

TEST_F(LlavaBackendTest, CheckpointingChangesNoGradient) {
    const std::vector<EncodedExample> rows{example({1, kI, 5, 6, 9}, {files[0]}), example({1, 5, 6, 7}, {})};
    at::Tensor weight = projector_weight().requires_grad_(true);
    backend->set_training(true);
    backend->loss_sum(rows).backward();
    const at::Tensor want = weight.grad().clone();
    weight.mutable_grad() = at::Tensor();
    backend->set_gradient_checkpointing(true);
    backend->loss_sum(rows).backward();
    EXPECT_TRUE(weight.grad().equal(want));
}

TEST_F(LlavaBackendTest, QuestionsOnOneImageShareItAndAnswerAsAlone) {
    std::vector<Request> requests;
    for (int64_t q = 0; q < 4; ++q) {
        Ids ids{1, 20, kI};
        for (int64_t k = 0; k <= q; ++k) ids.push_back(30 + q * 5 + k);
        requests.push_back(request("q" + std::to_string(q), ids, {files[0]}));
    }
    requests.push_back(request("other", {1, 20, kI, 33}, {files[1]}));
    requests.push_back(request("text", {1, 20, 33}, {}));
    requests.push_back(request("twin", {1, 20, 33}, {}));
    requests.push_back(request("two", {1, kI, 4, kI, 5}, {files[0], files[1]}));
    for (int64_t beams : {1, 3}) {
        std::vector<Ids> alone;
        for (Request& one : requests) {
            one.generate.num_beams = beams;
            alone.push_back(answers({one})[0].ids);
            EXPECT_EQ(alone.back().size(), 6u);
        }
        for (int64_t batch : {0, 1, 3, 5}) {
            const auto together = answers(requests, batch);
            for (size_t i = 0; i < requests.size(); ++i)
                EXPECT_EQ(together[i].ids, alone[i]) << requests[i].id << " batch " << batch;
            EXPECT_EQ(together[0].prompt_tokens, 19);
        }
    }
    const int64_t before = backend->prefilled();
    answers(std::vector<Request>(requests.begin(), requests.begin() + 4));
    EXPECT_EQ(backend->prefilled() - before, 18 + 1 + 2 + 3 + 4); // the image's 16, once
}

TEST_F(LlavaBackendTest, TheBufferStaysBoundedOverManyImages) {
    ImageBook book;
    std::vector<Codes> prompts;
    for (int64_t i = 0; i < 60; ++i) {
        Codes codes{1};
        for (int64_t k = 0; k < 40; ++k) codes.push_back(-1 - ((i / 4) * 16 + k % 16));
        codes.push_back(10 + i);
        prompts.push_back(codes);
    }
    auto groups = group_by_prefix(prompts);
    ASSERT_EQ(groups.size(), 15u);
    EXPECT_EQ(groups[0].length, 41);
    LlamaDecoder decoder(backend->model(), prompts, groups, [&](std::span<const int64_t> codes) {
        return at::zeros({static_cast<int64_t>(codes.size()), backend->model().config().hidden});
    });
    std::vector<GenerationJob> jobs(prompts.size());
    for (size_t i = 0; i < jobs.size(); ++i) {
        jobs[i].prompt = static_cast<int64_t>(i), jobs[i].prompt_length = 11;
        jobs[i].request.max_new = jobs[i].request.options.max_new_tokens = 3;
    }
    size_t finished = 0;
    generate_all(decoder, jobs, {4, 4, 4096}, [&](size_t, Outcome outcome) {
        EXPECT_EQ(outcome.ids.size(), 3u);
        ++finished;
    });
    EXPECT_EQ(finished, 60u);
    EXPECT_EQ(decoder.prefilled(), 15 * 41 + 60);
    EXPECT_LT(decoder.buffer_rows(), 15 * 41);
}

TEST_F(LlavaBackendTest, LikelihoodsAreThoseOfTheLogits) {
    std::vector<Request> requests;
    auto add = [&](const Ids& context, const Ids& continuation, const std::vector<std::string>& images) {
        Request one = request(std::to_string(requests.size()), context, images);
        one.kind = Request::Kind::score;
        one.continuation_ids = continuation;
        requests.push_back(one);
    };
    add({1, kI, 5, 6}, {7, 8, 9}, {files[0]});
    add({1, kI, 5, 6}, {10}, {files[0]});  // the same context
    add({1, kI, 5}, {11, 12}, {files[0]}); // the same image, another question
    add({1, kI}, {11, 12}, {files[0]});    // nothing behind the image
    add({1, kI, 5}, {11, 12}, {files[1]}); // another image
    add({1, 5, 6}, {7, 8}, {});
    add({1, 5, 6}, {9}, {});
    add({1, 5}, {}, {});
    for (int64_t batch : {0, 1, 2}) {
        const auto got = answers(requests, batch);
        for (size_t i = 0; i < requests.size(); ++i) {
            const Request& r = requests[i];
            ImageBook book;
            Codes codes;
            size_t next = 0;
            append_codes(r.context_ids, 0, r.context_ids.size(), r.media.images, next, 16, book, codes);
            const int64_t context = static_cast<int64_t>(codes.size());
            codes.insert(codes.end(), r.continuation_ids.begin(), r.continuation_ids.end());
            const int64_t n = static_cast<int64_t>(codes.size());
            at::NoGradGuard no_grad;
            LlamaModel& model = backend->model();
            at::Tensor logs = model
                                  .logits(model.forward_rows(backend->embed(codes, book),
                                                             at::arange(n, at::kLong), {{0, n}}))
                                  .log_softmax(-1);
            double want = 0;
            for (int64_t t = context; t < n; ++t) want += logs[t - 1][codes[t]].item<double>();
            EXPECT_NEAR(got[i].loglikelihood, want, 1e-4) << i << " batch " << batch;
            EXPECT_EQ(got[i].tokens, n - context);
            EXPECT_EQ(got[i].prompt_tokens, context);
        }
    }
}

TEST_F(LlavaBackendTest, WhatIsWrongWithARequestIsNamed) {
    EXPECT_THAT(refusal(request("r1", {1, kI, 5}, {})),
                AllOf(HasSubstr("request r1"), HasSubstr("0, got 1")));
    EXPECT_THAT(refusal(request("r2", {1, 5}, {files[0]})), HasSubstr("request r2"));
    EXPECT_THAT(refusal(request("r3", {1, kI}, {dir / "absent.png"})),
                AllOf(HasSubstr("request r3"), HasSubstr("absent.png")));
    write_file_atomic(dir / "damaged.png", read_file(files[0]).substr(0, 60));
    EXPECT_THAT(refusal(request("r4", {1, kI}, {dir / "damaged.png"})), HasSubstr("damaged.png"));
    write_file_atomic(dir / "text.png", "this is no image");
    EXPECT_THAT(refusal(request("r5", {1, kI}, {dir / "text.png"})), HasSubstr("text.png"));
    Request video = request("r6", {1, 5}, {});
    video.media.video = files[0];
    EXPECT_THAT(refusal(video), AllOf(HasSubstr("request r6"), HasSubstr("video")));
    EXPECT_THAT(refusal(request("r7", Ids(40, kI), std::vector<std::string>(40, files[0]))),
                AllOf(HasSubstr("request r7"), HasSubstr("640 positions")));
    EXPECT_THAT(refusal(request("r8", {1, 512}, {})), HasSubstr("512"));
    Request text = request("r9", {}, {});
    text.has_ids = false, text.context = "hello";
    EXPECT_THAT(refusal(text), HasSubstr("tokenizer"));
    EncodedExample row = example({1, kI, 5}, {files[0]});
    row.media.images.clear();
    EXPECT_THROW(backend->loss_sum(std::span(&row, 1)), Error);
}

TEST_F(LlavaBackendTest, LongTextIsCutAroundItsImage) {
    Ids ids{1};
    for (int64_t i = 0; i < 600; ++i) ids.push_back(10 + i % 400);
    ids.insert(ids.begin() + 300, kI);
    const auto got = answers({request("long", ids, {files[0]})})[0];
    EXPECT_EQ(got.prompt_tokens, 512 - 6);
    EXPECT_EQ(got.cut_tokens, 617 - 506);
    Ids rest{1};
    rest.insert(rest.end(), ids.begin() + 112, ids.end());
    EXPECT_EQ(got.ids, answers({request("rest", rest, {files[0]})})[0].ids);
}

TEST_F(LlavaBackendTest, CropAndPadAreDifferentFeatures) {
    BackendSettings settings;
    settings.type = "llava", settings.shape = "llava-tiny", settings.device = "cpu";
    settings.image_processing = "crop";
    LlavaBackend crop(settings, 1);
    const std::vector<std::string> one{files[2]};
    EXPECT_FALSE(crop.image_embeddings(one)[0].equal(backend->image_embeddings(one)[0]));
    settings.image_processing = "stretch";
    EXPECT_THROW(LlavaBackend(settings, 1), Error);
}

} // namespace
} // namespace dorabench
