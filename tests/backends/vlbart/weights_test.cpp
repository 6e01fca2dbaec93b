// Checkpoints and features as they come: named, damaged, or lacking the visual part.
#include "tests/backends/vlbart/fixture.h"
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using nlohmann::json;
using test::Change;
using testing::HasSubstr;

constexpr const char* kShared = "model.shared.weight";
const std::string kVisual = "model.encoder.visual_embedding.";

std::string refusal(const Change& change) {
    test::TempDir dir;
    test::write_bart(dir, test::small_bart_json(true), change);
    try {
        test::open_bart(dir);
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        return e.what();
    }
    return "accepted";
}

TEST(BartWeights, WhatIsMissingUnexpectedOrOfAnotherShapeIsNamed) {
    const std::string key = "model.decoder.layers.1.encoder_attn.q_proj.weight";
    EXPECT_THAT(refusal([&](Weights& w) { w.erase(key); }), HasSubstr(key));
    EXPECT_THAT(refusal([&](Weights& w) { w.erase(kVisual + "feat_embedding.0.weight"); }),
                HasSubstr("feat_embedding"));
    EXPECT_THAT(refusal([&](Weights& w) { w["model.extra.weight"] = at::ones({2}); }),
                HasSubstr("model.extra"));
    EXPECT_THAT(refusal([&](Weights& w) { w[key] = at::ones({32, 31}); }), HasSubstr("[32, 32]"));
    EXPECT_THAT(refusal([&](Weights& w) { w[key] = at::ones({32, 32}, at::kLong); }), HasSubstr("I64"));
    EXPECT_THAT(refusal([&](Weights& w) { w[kShared] = at::ones({89, 32}); }), HasSubstr(kShared));
    EXPECT_THAT(refusal([&](Weights& w) { w[kShared] = at::ones({}); }), HasSubstr(kShared));
    EXPECT_THAT(refusal([&](Weights& w) {
                    w["final_logits_bias"] = at::ones({1, 89});
                }),
                HasSubstr("final_logits_bias must have shape [1, 90]"));
    EXPECT_THAT(refusal([&](Weights& w) {
                    w["final_logits_bias"] = at::ones({90, 1});
                }),
                HasSubstr("final_logits_bias"));
    EXPECT_THAT(refusal([&](Weights& w) {
                    w["final_logits_bias"] = at::ones({1, 90}, at::kLong);
                }),
                HasSubstr("I64"));
    EXPECT_EQ(refusal({}), "accepted");
}

TEST(BartWeights, NamesWithoutTheLeadingModelAndTiedCopiesAreFound) {
    test::TempDir dir, bare_dir;
    test::write_bart(dir, test::small_bart_json(true));
    test::write_bart(bare_dir, test::small_bart_json(true), [](Weights& w) {
        Weights bare;
        for (auto& [name, tensor] : w) bare[name.rfind("model.", 0) == 0 ? name.substr(6) : name] = tensor;
        bare["lm_head.weight"] = bare["shared.weight"].clone();
        bare["decoder.embed_tokens.weight"] = bare["shared.weight"].clone();
        bare.erase("shared.weight");
        w = bare;
    });
    const Ids ids{0, 7, 8, 2};
    EXPECT_TRUE(test::open_bart(dir)->probe_logits(ids).equal(test::open_bart(bare_dir)->probe_logits(ids)));
}

TEST(BartWeights, TheLogitsBiasIsAddedAndMayBeAbsent) {
    test::TempDir with, without;
    test::write_bart(with, test::small_bart_json(false));
    test::write_bart(without, test::small_bart_json(false), [](Weights& w) { w.erase("final_logits_bias"); });
    auto biased = test::open_bart(with), plain = test::open_bart(without);
    const at::Tensor difference = biased->probe_logits({0, 7, 2}) - plain->probe_logits({0, 7, 2});
    EXPECT_LT(test::worst(difference, (at::arange(90, at::kFloat) * 0.01).expand({3, 90})), 1e-5);
    EncodedExample one; // the loss is that of the logits in both
    one.input_ids = {0, 7, 8, 2}, one.labels = one.input_ids;
    for (auto* backend : {biased.get(), plain.get()}) {
        const at::Tensor logs = backend->probe_logits(one.input_ids).log_softmax(-1);
        double want = 0;
        for (size_t t = 0; t < one.labels.size(); ++t) want -= logs[int64_t(t)][one.labels[t]].item<double>();
        EXPECT_NEAR(backend->loss_sum(std::span(&one, 1)).item<double>(), want, 1e-4);
    }
}

TEST(BartWeights, APlainBartGetsAVisualPartFromTheSeed) {
    test::TempDir dir;
    test::write_bart(dir, test::small_bart_json(false));
    auto plain = test::open_bart(dir), image = test::open_bart(dir, "image", 7),
         again = test::open_bart(dir, "image", 7), other = test::open_bart(dir, "image", 8),
         video = test::open_bart(dir, "video", 7);
    EXPECT_TRUE(plain->drawn().empty());
    EXPECT_EQ(image->shapes().vocab, 290);
    EXPECT_EQ(image->model().config().visual.feat_dim, 2048);
    EXPECT_EQ(video->model().config().visual.feat_dim, 512);
    EXPECT_EQ(image->drawn().size(), 10u); // nine tensors and the embedding's further rows
    EXPECT_THAT(image->drawn(), testing::Contains("rows 90 to 289 of model.shared.weight"));
    std::map<std::string, at::Tensor> first;
    for (const NamedTensor& p : image->parameters()) first[p.name] = p.tensor;
    for (const NamedTensor& p : again->parameters()) EXPECT_TRUE(p.tensor.equal(first[p.name])) << p.name;
    bool differs = false;
    for (const NamedTensor& p : other->parameters()) differs |= !p.tensor.equal(first[p.name]);
    EXPECT_TRUE(differs);
    for (const NamedTensor& p : plain->parameters())
        EXPECT_TRUE(p.tensor.equal(first[p.name].narrow(0, 0, p.tensor.size(0)))) << p.name;
    // the plain model's logits, and those of the further tokens
    const at::Tensor logits = image->probe_logits({0, 7, 2});
    EXPECT_LT(test::worst(logits.narrow(1, 0, 90), plain->probe_logits({0, 7, 2})), 1e-5);
    // what it writes of itself can be read as a VL-BART
    EXPECT_EQ(parse_bart_config(image->config_json(), "written").visual.n_boxes, 36);
}

TEST(BartWeights, APlainConfigsCheckpointWithAVisualPartKeepsIt) {
    test::TempDir plain, grown;
    test::write_bart(plain, test::small_bart_json(false));
    auto made = test::open_bart(plain, "video", 7);
    write_file_atomic(grown / "config.json", test::small_bart_json(false).dump());
    write_tensors(grown / "model.safetensors", made->parameters());
    auto kept = test::open_bart(grown, "video", 99);
    EXPECT_TRUE(kept->drawn().empty());
    std::map<std::string, at::Tensor> want;
    for (const NamedTensor& p : made->parameters()) want[p.name] = p.tensor;
    for (const NamedTensor& p : kept->parameters()) EXPECT_TRUE(p.tensor.equal(want[p.name])) << p.name;
}

TEST(BartWeights, NamedShapesAreDrawnFromTheSeed) {
    BartConfig config = parse_bart_config(test::small_bart_json(true).dump(), "test");
    const BartWeights a = random_bart_weights(5, config, {}), b = random_bart_weights(5, config, {});
    for (const ParameterShape& p : bart_shapes(config, "").parameters) {
        EXPECT_EQ(a.tensors.at(p.name).sizes().vec(), p.shape);
        EXPECT_TRUE(a.tensors.at(p.name).equal(b.tensors.at(p.name)));
    }
    EXPECT_EQ(a.logits_bias.size(0), 90);
}

// ---- features

TEST(FeatureFiles, OfTwoImagesMayLieApart) {
    test::TempDir dir;
    const at::Tensor a = at::arange(48, at::kFloat).view({4, 12}), b = a + 100;
    const at::Tensor both = at::cat({a, b}, 0);
    write_tensors(dir / "a.safetensors", {{"feats", a}});
    write_tensors(dir / "b.safetensors", {{"feats", b}});
    write_tensors(dir / "both.safetensors", {{"feats", both}});
    VisualConfig config;
    config.feat_dim = 12;
    config.n_boxes = 8;
    Media apart, together;
    apart.n_images = together.n_images = 2;
    apart.features = dir / "a.safetensors\n" + (dir / "b.safetensors");
    together.features = dir / "both.safetensors";
    const VisualInput one = read_visual(apart, config, "row 1"),
                      other = read_visual(together, config, "row 1");
    EXPECT_TRUE(one.feats.equal(other.feats));
    EXPECT_TRUE(one.boxes.equal(other.boxes));
    EXPECT_EQ(one.images, 2);
    apart.features = dir / "a.safetensors\n" + (dir / "both.safetensors");
    EXPECT_THROW(read_visual(apart, config, "row 1"), Error);
    apart.features += "\n" + (dir / "a.safetensors");
    EXPECT_THROW(read_visual(apart, config, "row 1"), Error);
}

class Features : public testing::Test {
protected:
    std::string refusal(const std::vector<NamedTensor>& tensors, int64_t n_images = 1) {
        Media media;
        media.features = dir / "features.safetensors";
        media.n_images = n_images;
        write_tensors(media.features, tensors);
        try {
            read_visual(media, config.visual, "request 7");
        } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::data);
            return e.what();
        }
        return "accepted";
    }
    test::TempDir dir;
    BartConfig config = parse_bart_config(test::small_bart_json(true).dump(), "test");
};

TEST_F(Features, DamageIsNamed) {
    EXPECT_EQ(refusal({{"feats", at::ones({4, 12})}}), "accepted");
    EXPECT_EQ(refusal({{"feats", at::ones({4, 12}, at::kHalf)}, {"boxes", at::ones({4, 4})}}), "accepted");
    EXPECT_THAT(refusal({{"features", at::ones({4, 12})}}), HasSubstr("a tensor feats [N, 12]"));
    EXPECT_THAT(refusal({{"feats", at::ones({4, 11})}}),
                HasSubstr("[N, feat_dim=12] with N at least 1, is [4, 11]"));
    EXPECT_THAT(refusal({{"feats", at::ones({0, 12})}}), HasSubstr("N at least 1"));
    EXPECT_THAT(refusal({{"feats", at::ones({2, 2, 12})}}), HasSubstr("[2, 2, 12]"));
    EXPECT_THAT(refusal({{"feats", at::ones({4, 12}, at::kLong)}}), HasSubstr("I64"));
    EXPECT_THAT(refusal({{"feats", at::ones({4, 12})}, {"boxes", at::ones({3, 4})}}),
                HasSubstr("as many as feats"));
    EXPECT_THAT(refusal({{"feats", at::ones({4, 12})}, {"boxes", at::ones({4, 5})}}),
                HasSubstr("boxes must be"));
    EXPECT_THAT(refusal({{"feats", at::ones({5, 12})}}), HasSubstr("square grid"));
    EXPECT_THAT(refusal({{"feats", at::ones({9, 12})}}, 2), HasSubstr("multiple of n_images=2"));
    EXPECT_THAT(refusal({{"feats", at::ones({9, 12})}}, 3), HasSubstr("n_images must be in [1, 2]"));
    EXPECT_THAT(refusal({{"feats", at::full({4, 12}, NAN)}}), HasSubstr("finite"));
    config.visual.pool = VisualConfig::Pool::none;
    EXPECT_THAT(refusal({{"feats", at::ones({5, 12})}}), HasSubstr("at most n_boxes=4"));
    EXPECT_EQ(refusal({{"feats", at::ones({3, 12})}}), "accepted");
    config.visual = {};
    EXPECT_THAT(refusal({{"feats", at::ones({4, 12})}}), HasSubstr("no visual embedding"));
    write_file_atomic(dir / "features.safetensors", "not a file of tensors");
    Media media;
    media.features = dir / "features.safetensors";
    EXPECT_THROW(read_visual(media, parse_bart_config(test::small_bart_json(true).dump(), "t").visual, "r"),
                 Error);
    media.features = dir / "absent.safetensors";
    EXPECT_THROW(read_visual(media, parse_bart_config(test::small_bart_json(true).dump(), "t").visual, "r"),
                 Error);
    media = {};
    media.images = {"cat.png"};
    EXPECT_THROW(read_visual(media, config.visual, "r"), Error);
    EXPECT_EQ(read_visual({}, config.visual, "r").rows(), 0);
}

TEST_F(Features, TheGridAndTheSequenceArePooledByTheirMaximum) {
    VisualInput grid{at::arange(16, at::kFloat).view({16, 1}), at::zeros({16, 4}), 1};
    VisualConfig visual = config.visual;
    visual.feat_dim = 1;
    // the 4 x 4 grid's quarters end with 5, 7, 13, 15; a row of 16 with 3, 7, 11, 15
    EXPECT_TRUE(pool_visual(grid, visual, "t")
                    .feats.view({4})
                    .equal(at::stack(
                        {at::full({}, 5.0), at::full({}, 7.0), at::full({}, 13.0), at::full({}, 15.0)})));
    visual.pool = VisualConfig::Pool::sequence;
    EXPECT_TRUE(pool_visual(grid, visual, "t").feats.view({4}).equal(at::arange(3, 16, 4, at::kFloat)));
    const VisualInput pooled = pool_visual(grid, visual, "t");
    EXPECT_EQ(pooled.boxes.size(0), 4);
    EXPECT_TRUE(pool_visual(pooled, visual, "t").feats.equal(pooled.feats)); // pooled already: as it is
    const VisualInput brief{at::full({2, 1}, -3.0), at::zeros({2, 4}),
                            1}; // of a short video: zeros behind it
    EXPECT_TRUE(pool_visual(brief, visual, "t")
                    .feats.view({4})
                    .equal(at::stack(
                        {at::full({}, -3.0), at::full({}, -3.0), at::full({}, 0.0), at::full({}, 0.0)})));
}

TEST_F(Features, OtherNormsThanTheRecipesAreComputedToo) {
    // one norm over the sum, the text's norm over both, no norm at all: every parameter has its effect
    for (const json& options :
         {json{{"individual_vis_layer_norm", false}}, json{{"share_vis_lang_layer_norm", true}},
          json{{"use_vis_layer_norm", false}}, json{{"use_vis_order_embedding", false}}}) {
        json changed = test::small_bart_json(true);
        changed.update(options);
        test::write_bart(dir, changed);
        auto backend = test::open_bart(dir);
        for (NamedTensor& p : backend->parameters()) p.tensor.requires_grad_(true);
        EncodedExample one;
        one.input_ids = {0, 7, 2}, one.labels = {0, 9, 2};
        one.media.features = test::write_features(dir, "f.safetensors", 8, 12);
        one.media.n_images = 2;
        backend->loss_sum(std::span(&one, 1)).backward();
        for (const NamedTensor& p : backend->parameters()) {
            ASSERT_TRUE(p.tensor.grad().defined()) << p.name << options;
            if (p.name.find("k_proj.bias") == std::string::npos) // softmax does not see it
                EXPECT_GT(p.tensor.grad().abs().max().item<double>(), 0) << p.name << options;
        }
    }
}

} // namespace
} // namespace dorabench
