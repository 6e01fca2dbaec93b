#include "backends/llama/config.h"
#include "backends/llama/model.h"
#include "harness/base/error.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json plain() {
    return {{"model_type", "llama"},    {"hidden_size", 64},
            {"intermediate_size", 96},  {"num_hidden_layers", 2},
            {"num_attention_heads", 4}, {"num_key_value_heads", 2},
            {"vocab_size", 100},        {"max_position_embeddings", 128},
            {"rms_norm_eps", 1e-5},     {"rope_theta", 10000.0}};
}

std::string refusal(const json& config) {
    try {
        parse_llama_config(config.dump(), "config.json");
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        return e.what();
    }
    return "accepted";
}

TEST(LlamaConfig, PublishedShapesCountExactly) {
    auto total = [](const char* name) { return llama_shapes(named_llama_config(name), name).total(); };
    EXPECT_EQ(total("llama-7b"), 6738415616);
    EXPECT_EQ(total("llama-13b"), 13015864320);
    EXPECT_EQ(total("llama2-7b"), 6738415616);
    EXPECT_EQ(total("llama3-8b"), 8030261248);
    for (const std::string& name : llama_shape_names()) EXPECT_GT(total(name.c_str()), 0);
    EXPECT_THROW(named_llama_config("llama-7"), Error);
}

TEST(LlamaConfig, BothFormsOfRotaryScalingReadAlike) {
    json old_form = plain(), new_form = plain();
    old_form["rope_theta"] = 5e5;
    old_form["rope_scaling"] = {{"rope_type", "llama3"},
                                {"factor", 8.0},
                                {"low_freq_factor", 1.0},
                                {"high_freq_factor", 4.0},
                                {"original_max_position_embeddings", 64}};
    new_form.erase("rope_theta");
    new_form["rope_parameters"] = old_form["rope_scaling"];
    new_form["rope_parameters"]["rope_theta"] = 5e5;
    const LlamaConfig a = parse_llama_config(old_form.dump(), "a"),
                      b = parse_llama_config(new_form.dump(), "b");
    EXPECT_EQ(a.rope_theta, 5e5);
    EXPECT_TRUE(rope_frequencies(a).equal(rope_frequencies(b)));
    EXPECT_FALSE(rope_frequencies(a).equal(rope_frequencies(parse_llama_config(plain().dump(), "c"))));
    json linear = plain();
    linear["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
    EXPECT_TRUE((rope_frequencies(parse_llama_config(linear.dump(), "d")) * 2)
                    .equal(rope_frequencies(parse_llama_config(plain().dump(), "c"))));
}

TEST(LlamaConfig, FamiliesDifferInTheirBiases) {
    json qwen = plain(), biased = plain();
    qwen["model_type"] = "qwen2";
    const LlamaConfig q = parse_llama_config(qwen.dump(), "q");
    EXPECT_TRUE(q.qkv_bias && !q.o_bias && !q.mlp_bias);
    biased["attention_bias"] = true, biased["mlp_bias"] = true;
    const LlamaConfig b = parse_llama_config(biased.dump(), "b");
    EXPECT_TRUE(b.qkv_bias && b.o_bias && b.mlp_bias);
}

TEST(LlamaConfig, WhatIsWrittenReadsBackAlike) {
    json config = plain();
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", 8.0},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 64}};
    config["eos_token_id"] = {3, 4};
    const LlamaConfig a = parse_llama_config(config.dump(), "a"),
                      b = parse_llama_config(llama_config_json(a, "float32"), "b");
    EXPECT_EQ(llama_config_json(a, "float32"), llama_config_json(b, "float32"));
    EXPECT_EQ(b.eos, (std::vector<int64_t>{3, 4}));
    EXPECT_TRUE(rope_frequencies(a).equal(rope_frequencies(b)));
}

TEST(LlamaConfig, WhatIsNotCoveredIsRefusedByName) {
    struct Case {
        const char* key;
        json value;
        const char* said;
    };
    const Case cases[] = {
        {"model_type", "gpt2", "gpt2"},
        {"hidden_act", "gelu", "hidden_act"},
        {"partial_rotary_factor", 0.5, "partial_rotary_factor"},
        {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}}, "yarn"},
        {"rope_scaling", {{"rope_type", "linear"}}, "factor"},
        {"hidden_size", 0, "hidden_size"},
        {"hidden_size", -5, "hidden_size"},
        {"hidden_size", "64", "hidden_size"},
        {"hidden_size", 1e300, "hidden_size"},
        {"hidden_size", 66, "num_attention_heads"},
        {"num_key_value_heads", 3, "num_key_value_heads"},
        {"head_dim", 7, "head_dim"},
        {"num_hidden_layers", 1000000, "num_hidden_layers"},
        {"vocab_size", nullptr, "vocab_size"},
        {"rms_norm_eps", -1, "rms_norm_eps"},
        {"tie_word_embeddings", "yes", "tie_word_embeddings"},
        {"eos_token_id", "two", "eos_token_id"},
        {"quantization_config", {{"bits", 4}}, "quantization_config"},
        {"rope_scaling", 3, "rope_scaling"},
    };
    for (const Case& c : cases) {
        json config = plain();
        config[c.key] = c.value;
        EXPECT_THAT(refusal(config), HasSubstr(c.said)) << config.dump();
        EXPECT_THAT(refusal(config), HasSubstr("config.json"));
    }
    json windowed = plain();
    windowed["model_type"] = "mistral", windowed["sliding_window"] = 4096;
    EXPECT_THAT(refusal(windowed), HasSubstr("sliding_window"));
    windowed["sliding_window"] = nullptr;
    EXPECT_EQ(refusal(windowed), "accepted");
    EXPECT_THROW(parse_llama_config("[1]", "x"), Error);
    EXPECT_THROW(parse_llama_config("{", "x"), Error);
}

} // namespace
} // namespace dorabench
