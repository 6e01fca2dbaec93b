#include "backends/vlbart/config.h"
#include "tests/backends/vlbart/fixture.h"
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string refusal(const std::function<void(json&)>& change, bool visual = true) {
    json config = test::small_bart_json(visual);
    change(config);
    try {
        parse_bart_config(config.dump(), "some/config.json");
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        EXPECT_THAT(e.what(), HasSubstr("some/config.json: "));
        return e.what();
    }
    return "accepted";
}

TEST(BartConfig, BadValuesAreNamedByTheirKey) {
    for (const char* key : {"d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads",
                            "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim", "vocab_size"}) {
        EXPECT_THAT(refusal([&](json& c) { c.erase(key); }), HasSubstr(cat(key, " is missing")));
        for (const json& bad : {json(0), json(-1), json(1.5), json("32"), json(int64_t(1) << 40)})
            EXPECT_THAT(refusal([&](json& c) { c[key] = bad; }),
                        HasSubstr(cat(key, " must be an integer in [1, ")));
    }
    EXPECT_THAT(refusal([](json& c) { c["encoder_attention_heads"] = 5; }),
                HasSubstr("d_model (32) must be a multiple of encoder_attention_heads (5)"));
    EXPECT_THAT(refusal([](json& c) { c["max_position_embeddings"] = 0; }),
                HasSubstr("max_position_embeddings"));
    for (const char* key :
         {"bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id", "forced_eos_token_id"})
        for (const json& bad : {json(90), json(-1), json("</s>"), json::array({1, 2})})
            EXPECT_THAT(refusal([&](json& c) { c[key] = bad; }),
                        HasSubstr(cat(key, " must be a token id in [0, ")));
    EXPECT_EQ(refusal([](json& c) { c["forced_eos_token_id"] = nullptr; }), "accepted");
}

TEST(BartConfig, WhatIsNotComputedIsRefused) {
    EXPECT_THAT(refusal([](json& c) { c["model_type"] = "mbart"; }), HasSubstr("model_type must be bart"));
    EXPECT_THAT(refusal([](json& c) { c["activation_function"] = "relu"; }),
                HasSubstr("activation_function"));
    EXPECT_THAT(refusal([](json& c) { c["normalize_before"] = true; }), HasSubstr("normalize_before"));
    EXPECT_EQ(refusal([](json& c) { c["normalize_before"] = false; }), "accepted");
    EXPECT_THAT(refusal([](json& c) { c["add_final_layer_norm"] = true; }),
                HasSubstr("add_final_layer_norm"));
    EXPECT_THAT(refusal([](json& c) { c["static_position_embeddings"] = true; }),
                HasSubstr("static_position_embeddings"));
    EXPECT_THAT(refusal([](json& c) { c["tie_word_embeddings"] = false; }), HasSubstr("tie_word_embeddings"));
    EXPECT_THAT(refusal([](json& c) {
                    c["quantization_config"] = {{"bits", 4}};
                }),
                HasSubstr("quantization_config"));
    EXPECT_EQ(refusal([](json& c) {
                  c["quantization_config"] = {{"load_in_4bit", true}, {"bnb_4bit_quant_type", "nf4"}};
              }),
              "accepted");
    EXPECT_THAT(refusal([](json& c) { c["scale_embedding"] = "no"; }),
                HasSubstr("scale_embedding must be true or"));
}

TEST(BartConfig, VisualOptionsAreBounded) {
    EXPECT_THAT(refusal([](json& c) { c["feat_dim"] = 0; }), HasSubstr("feat_dim"));
    EXPECT_THAT(refusal([](json& c) { c["pos_dim"] = 5; }), HasSubstr("pos_dim must be 4"));
    EXPECT_THAT(refusal([](json& c) { c["n_boxes"] = 5; }), HasSubstr("n_boxes must be a square"));
    EXPECT_THAT(refusal([](json& c) { c["n_boxes"] = 100; }),
                HasSubstr("n_boxes must be at most vocab_size (90)"));
    EXPECT_THAT(refusal([](json& c) { c["n_images"] = 0; }), HasSubstr("n_images"));
    EXPECT_THAT(refusal([](json& c) { c["oneddownsample"] = true; }), HasSubstr("at most one of downsample"));
    EXPECT_FALSE(parse_bart_config(test::small_bart_json(false).dump(), "c").visual.present());
}

TEST(BartConfig, TextThatIsNoObjectIsRefused) {
    for (const char* text : {"", "{", "[]", "3", "null"})
        EXPECT_THROW(parse_bart_config(text, "c"), Error) << text;
    test::TempDir dir;
    EXPECT_THROW(read_bart_config(dir.path()), Error);
}

TEST(BartConfig, WhatIsWrittenIsReadBack) {
    for (const std::string& name : bart_shape_names()) {
        const BartConfig config = named_bart_config(name);
        const std::string text = bart_config_json(config, "float32");
        EXPECT_EQ(bart_config_json(parse_bart_config(text, "written"), "float32"), text);
        EXPECT_EQ(bart_shapes(parse_bart_config(text, "written"), name).total(),
                  bart_shapes(config, name).total());
    }
}

TEST(BartShapes, TotalsAreThePublishedOnes) {
    EXPECT_EQ(bart_shapes(named_bart_config("bart-base"), "").total(), 139'420'416);
    EXPECT_EQ(bart_shapes(named_bart_config("vlbart-image"), "").total(), 139'574'016 + 1'582'848);
    EXPECT_EQ(bart_shapes(named_bart_config("vlbart-video"), "").total(), 139'574'016 + 403'200);
    EXPECT_EQ(bart_shapes(with_visual(named_bart_config("bart-base"), "image"), "").vocab, 50'465);
    EXPECT_THROW(named_bart_config("bart-large"), Error);
    EXPECT_THROW(with_visual(named_bart_config("bart-base"), "sound"), Error);
    EXPECT_THROW(with_visual(named_bart_config("vlbart-image"), "image"), Error);
}

TEST(BartShapes, AreThoseOfTheModelInOrder) {
    test::TempDir dir;
    test::write_bart(dir, test::small_bart_json(true));
    auto backend = test::open_bart(dir);
    const auto parameters = backend->parameters();
    const auto& shapes = backend->shapes().parameters;
    ASSERT_EQ(parameters.size(), shapes.size());
    std::vector<std::string> linear;
    for (size_t i = 0; i < shapes.size(); ++i) {
        EXPECT_EQ(parameters[i].name, shapes[i].name);
        EXPECT_EQ(parameters[i].tensor.sizes().vec(), shapes[i].shape) << shapes[i].name;
        if (shapes[i].linear) linear.push_back(shapes[i].name);
    }
    const auto sites = backend->sites();
    ASSERT_EQ(sites.size(), linear.size());
    for (size_t i = 0; i < sites.size(); ++i) EXPECT_EQ(sites[i]->path() + ".weight", linear[i]);
    EXPECT_EQ(sites.size(), 2u * 6 + 2u * 10);
}

} // namespace
} // namespace dorabench
