#include "backends/llava/config.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json hugging_face() { // what the published llava-1.5-7b-hf states, and no more
    return {{"model_type", "llava"},
            {"image_token_index", 32000},
            {"projector_hidden_act", "gelu"},
            {"text_config",
             {{"model_type", "llama"},
              {"vocab_size", 32064},
              {"max_position_embeddings", 4096},
              {"rms_norm_eps", 1e-5}}},
            {"vision_config",
             {{"model_type", "clip_vision_model"},
              {"hidden_size", 1024},
              {"image_size", 336},
              {"intermediate_size", 4096},
              {"num_attention_heads", 16},
              {"num_hidden_layers", 24},
              {"patch_size", 14},
              {"projection_dim", 768}}},
            {"vision_feature_layer", -2},
            {"vision_feature_select_strategy", "default"}};
}

json original() {
    return {{"model_type", "llava_llama"},         {"hidden_size", 4096},
            {"intermediate_size", 11008},          {"num_hidden_layers", 32},
            {"num_attention_heads", 32},           {"vocab_size", 32000},
            {"max_position_embeddings", 4096},     {"mm_hidden_size", 1024},
            {"mm_projector_type", "mlp2x_gelu"},   {"mm_vision_select_layer", -2},
            {"mm_vision_select_feature", "patch"}, {"mm_vision_tower", "openai/clip-vit-large-patch14-336"}};
}

std::string refusal(const json& config, const std::string& tower = "") {
    try {
        parse_llava_config(config.dump(), "dir/config.json", tower);
    } catch (const Error& e) {
        EXPECT_TRUE(e.kind() == ErrorKind::data || e.kind() == ErrorKind::config);
        return e.what();
    }
    return "accepted";
}

json with(json config, const char* key, json value) {
    config[key] = std::move(value);
    return config;
}

TEST(LlavaConfig, BothLayoutsOfThePublishedModelRead) {
    const LlavaConfig a = parse_llava_config(hugging_face().dump(), "a", ""),
                      b = parse_llava_config(original().dump(), "b", "");
    EXPECT_EQ(a.image_tokens(), 576);
    EXPECT_EQ(b.image_tokens(), 576);
    EXPECT_EQ(a.image_id, 32000);
    EXPECT_EQ(b.image_id, -200);
    EXPECT_EQ(a.text.hidden, 4096); // transformers' default
    EXPECT_EQ(a.projector_paths()[1], "multi_modal_projector.linear_2");
    EXPECT_EQ(b.projector_paths()[1], "model.mm_projector.2");
    EXPECT_EQ(llava_shapes(b, "b").total(), 7062902784);
    EXPECT_EQ(llava_shapes(a, "a").total(), 7062902784 + 2 * 64 * 4096);
}

TEST(LlavaConfig, TransformersFiveNamesTheImageTokenAnew) {
    json config = hugging_face();
    config.erase("image_token_index");
    EXPECT_THAT(refusal(config), HasSubstr("image_token_index"));
    config["image_token_id"] = 32000;
    config["image_seq_length"] = 576;
    config["multimodal_projector_bias"] = false;
    const LlavaConfig read = parse_llava_config(config.dump(), "c", "");
    EXPECT_EQ(read.image_id, 32000);
    EXPECT_EQ(llava_shapes(read, "c").total(), 7062902784 + 2 * 64 * 4096 - 2 * 4096);
}

TEST(LlavaConfig, FullStrategyKeepsTheClassToken) {
    EXPECT_EQ(
        parse_llava_config(with(hugging_face(), "vision_feature_select_strategy", "full").dump(), "c", "")
            .image_tokens(),
        577);
}

TEST(LlavaConfig, PublishedCountsAreExact) {
    const ModelShapes shapes = llava_shapes(named_llava_config("llava-1.5-7b"), "llava-1.5-7b");
    EXPECT_EQ(shapes.total(), 7062902784);
    int64_t lora = 0, magnitudes = 0, projector = 0, vision = 0, adapted = 0;
    std::set<std::string> parts;
    for (const ParameterShape& p : shapes.parameters) {
        int64_t n = 1;
        for (int64_t size : p.shape) n *= size;
        parts.insert(p.part);
        if (p.part == "projector") projector += n;
        if (p.part == "vision") vision += n;
        EXPECT_EQ(p.frozen, p.part == "vision") << p.name;
        if (p.part != "language") {
            EXPECT_FALSE(p.linear) << p.name; // no suffix list reaches it
        }
        if (!p.linear || p.head) continue;
        lora += 128 * (p.shape[0] + p.shape[1]), magnitudes += p.shape[0], ++adapted;
    }
    EXPECT_EQ(parts, (std::set<std::string>{"language", "projector", "vision"}));
    EXPECT_EQ(adapted, 224);
    EXPECT_EQ(vision, 303507456);
    EXPECT_EQ(lora + projector, 340795392);
    EXPECT_EQ(lora + magnitudes + projector, 342155264);
    EXPECT_EQ(shapes.total() + lora, 7382718464);
    EXPECT_EQ(shapes.total() + lora + magnitudes, 7384078336);
    for (const std::string& name : llava_shape_names())
        EXPECT_GT(llava_shapes(named_llava_config(name), name).total(), 0);
    EXPECT_THROW(named_llava_config("llava-7b"), Error);
}

TEST(LlavaConfig, NamesAreThoseOfTheFiles) {
    auto names = [](const LlavaConfig& config) {
        std::set<std::string> out;
        for (const ParameterShape& p : llava_shapes(config, "x").parameters) out.insert(p.name);
        return out;
    };
    const auto a = names(parse_llava_config(hugging_face().dump(), "a", "")),
               b = names(parse_llava_config(original().dump(), "b", ""));
    for (const char* name : {"language_model.model.layers.31.self_attn.q_proj.weight",
                             "language_model.lm_head.weight", "multi_modal_projector.linear_1.bias",
                             "vision_tower.vision_model.encoder.layers.23.mlp.fc1.weight"})
        EXPECT_TRUE(a.count(name)) << name;
    for (const char* name :
         {"model.layers.31.self_attn.q_proj.weight", "lm_head.weight", "model.mm_projector.0.bias"})
        EXPECT_TRUE(b.count(name)) << name;
}

TEST(LlavaConfig, WhatItCannotComputeIsRefusedByFileAndKey) {
    for (const auto& [key, value] :
         std::map<std::string, json>{{"vision_feature_layer", json::array({-2, -5})},
                                     {"vision_feature_select_strategy", "mean"},
                                     {"projector_hidden_act", "relu"},
                                     {"image_token_index", 32064},
                                     {"image_seq_length", 144},
                                     {"multimodal_projector_bias", "yes"},
                                     {"vision_config", "clip"},
                                     {"text_config", json::array()}}) {
        EXPECT_THAT(refusal(with(hugging_face(), key.c_str(), value)), HasSubstr("dir/config.json: " + key));
    }
    EXPECT_THAT(refusal(with(hugging_face(), "vision_feature_layer", -26)), HasSubstr("25 hidden states"));
    EXPECT_THAT(refusal(with(hugging_face(), "model_type", "idefics")), HasSubstr("idefics"));
    EXPECT_THAT(refusal(hugging_face(), "somewhere"), HasSubstr("--vision-tower"));
    EXPECT_THAT(refusal(json::array()), HasSubstr("dir/config.json"));
    for (const auto& [key, value] : std::map<std::string, json>{{"mm_projector_type", "linear"},
                                                                {"mm_use_im_start_end", true},
                                                                {"image_aspect_ratio", "anyres"},
                                                                {"mm_vision_select_feature", "cls"},
                                                                {"mm_vision_select_layer", 25},
                                                                {"mm_hidden_size", 768},
                                                                {"mm_vision_tower", "nowhere/at-all"}})
        EXPECT_THAT(refusal(with(original(), key.c_str(), value)), HasSubstr("dir/config.json: " + key));
    json nested = hugging_face();
    nested["text_config"]["hidden_size"] = "wide";
    EXPECT_THAT(refusal(nested), HasSubstr("text_config: hidden_size"));
}

TEST(LlavaConfig, TheImageEncoderIsFoundBesideTheCheckpoint) {
    test::TempDir dir;
    std::filesystem::create_directories(dir / "tower");
    std::filesystem::create_directories(dir / "model");
    write_file_atomic(dir / "tower/config.json", hugging_face()["vision_config"].dump());
    write_file_atomic(dir / "model/config.json", with(original(), "mm_vision_tower", "../tower").dump());
    EXPECT_EQ(read_llava_config(dir / "model", "").tower, dir / "tower");
    write_file_atomic(dir / "model/config.json", with(original(), "mm_vision_tower", "elsewhere").dump());
    EXPECT_EQ(read_llava_config(dir / "model", dir / "tower").tower, dir / "tower");
    EXPECT_THROW(read_llava_config(dir / "model", ""), Error);
    EXPECT_THROW(read_llava_config(dir / "model", dir / "absent"), Error);
}

TEST(LlavaConfig, WhatIsWrittenReadsBack) {
    const LlavaConfig config = named_llava_config("llava-1.5-7b");
    const LlavaConfig read = parse_llava_config(llava_config_json(config, "bfloat16"), "config.json", "");
    EXPECT_EQ(llava_shapes(read, "x").total(), llava_shapes(config, "x").total());
    EXPECT_EQ(read.feature_layer, config.feature_layer);
    EXPECT_TRUE(read.original);
}

} // namespace
} // namespace dorabench
