#include "adapters/adapter_set.h"
#include "adapters/choose_sites.h"
#include "harness/base/error.h"
#include <gtest/gtest.h>

namespace dorabench {
namespace {

ModelShapes shapes() {
    ModelShapes s;
    s.backend = "llava";
    s.name = "small-llava";
    auto add = [&](const std::string& name, bool linear, const std::string& part = "language",
                   bool head = false) {
        s.parameters.push_back(
            {name, linear ? std::vector<int64_t>{6, 4} : std::vector<int64_t>{6}, linear, head, part});
    };
    add("vision.layers.0.q_proj.weight", true, "vision");
    for (int i = 0; i < 12; ++i)
        for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj"})
            add("model.layers." + std::to_string(i) + "." + name + ".weight", true);
    add("model.norm.weight", false);
    add("lm_head.weight", true, "language", true);
    return s;
}

AdapterSettings settings() {
    AdapterSettings s;
    s.method = "lora";
    s.rank = 4;
    s.alpha = 8;
    s.has_alpha = true;
    return s;
}

size_t count(AdapterSettings s) { return choose_sites(shapes(), s).sites.size(); }

std::string error_of(const AdapterSettings& s) {
    try {
        choose_sites(shapes(), s);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::config);
        return error.what();
    }
    return "no error";
}

TEST(ChooseSites, TakesSuffixesAfterADotPatternsAndExpressions) {
    AdapterSettings s = settings();
    s.target_modules = {"q_proj"};
    EXPECT_EQ(count(s), 13u);
    s.target_modules = {"layers.1.self_attn.q_proj"}; // not layers.11
    EXPECT_EQ(count(s), 1u);
    s.target_modules = {"model.*.q_proj", "up_proj"};
    EXPECT_EQ(count(s), 24u);
    s.target_modules = {"layers.[0-3].*"};
    EXPECT_EQ(count(s), 3u * 4 + 1);
    s.exclude_modules = {"vision.*", "k_proj"};
    EXPECT_EQ(count(s), 8u);
    s = settings();
    s.target_regex = R"(model\.layers\.\d+\.self_attn\.(q|k)_proj)";
    EXPECT_EQ(count(s), 24u);
    s.target_regex = "q_proj"; // a full match, as Python's re.fullmatch
    EXPECT_NE(error_of(s).find("matches no linear layer"), std::string::npos);
}

TEST(ChooseSites, MeansTheLanguagePartWithoutTheHeadByAllLinear) {
    AdapterSettings s = settings();
    s.target_regex = "all-linear";
    EXPECT_EQ(count(s), 36u);
    s.exclude_modules = {"up_proj"};
    EXPECT_EQ(count(s), 24u);
    s.target_regex = "";
    s.target_modules = {"lm_head"};
    EXPECT_EQ(count(s), 1u); // by name the head can be had
}

TEST(ChooseSites, NamesTheNearestModule) {
    AdapterSettings s = settings();
    s.target_modules = {"q_proj", "up_prij"};
    const std::string message = error_of(s);
    EXPECT_NE(message.find("adapter.target_modules: \"up_prij\" matches no linear layer of small-llava; did "
                           "you mean \"up_proj\"?"),
              std::string::npos)
        << message;
    s.target_modules = {"norm"}; // not linear
    EXPECT_NE(error_of(s).find("matches no linear layer"), std::string::npos);
}

TEST(ChooseSites, ResolvesRanksAndAlphasAsPeft) {
    AdapterSettings s = settings();
    s.target_modules = {"q_proj", "k_proj", "up_proj"};
    s.rank_pattern = {{"layers.1.self_attn.q_proj", 6}, {"^model.*up_proj", 2}, {"q_proj", 8}};
    s.alpha_pattern = {{"up_proj", 10}, {R"(layers\.0\.self_attn\..*)", 3}};
    for (const SiteChoice& site : choose_sites(shapes(), s).sites) {
        const bool q = site.path.ends_with("q_proj"), up = site.path.ends_with("up_proj");
        const int64_t rank = site.path == "model.layers.1.self_attn.q_proj" ? 6 : up ? 2 : q ? 8 : 4;
        const double alpha = up ? 10 : site.path.find("layers.0.self_attn") != std::string::npos ? 3 : 8;
        EXPECT_EQ(site.rank, rank) << site.path;
        EXPECT_DOUBLE_EQ(site.scaling, alpha / double(rank)) << site.path;
    }
    s.rslora = true;
    EXPECT_DOUBLE_EQ(choose_sites(shapes(), s).sites.back().scaling, 10 / std::sqrt(2.0));
    AdapterSettings scaled = settings();
    scaled.has_alpha = false;
    scaled.has_scaling = true;
    scaled.scaling = 2;
    scaled.target_modules = {"q_proj"};
    scaled.rank_pattern = {{"layers.1.self_attn.q_proj", 16}};
    for (const SiteChoice& site : choose_sites(shapes(), scaled).sites) // alpha is 2 x 4 for every module
        EXPECT_DOUBLE_EQ(site.scaling, site.rank == 16 ? 0.5 : 2.0);
}

TEST(ChooseSites, RefusesWhatCannotBe) {
    AdapterSettings s = settings();
    EXPECT_NE(error_of(s).find("target_modules must name"), std::string::npos);
    s.target_modules = {"q_proj"};
    s.rank = 0;
    EXPECT_NE(error_of(s).find("rank must be at least 1, got 0"), std::string::npos);
    s = settings();
    s.target_modules = {"q_proj"};
    s.alpha = 0;
    EXPECT_NE(error_of(s).find("alpha must be above 0"), std::string::npos);
    s.method = "doro";
    EXPECT_NE(error_of(s).find("did you mean \"dora\""), std::string::npos);
    s = settings();
    s.target_regex = "(q_proj";
    EXPECT_NE(error_of(s).find("is not a regular expression"), std::string::npos);
    s = settings();
    s.target_modules = {"q_proj"};
    s.magnitude_modules = {"k_proj"};
    EXPECT_NE(error_of(s).find("magnitude_modules are for method dora"), std::string::npos);
    s = settings();
    s.target_modules = {"q_proj"};
    s.train_also = {"*q_proj*"};
    EXPECT_NE(error_of(s).find("whose layer is adapted"), std::string::npos);
    s.train_also = {"*layer_norm*"};
    EXPECT_NE(error_of(s).find("matches no parameter"), std::string::npos);
    s.train_also = {"*norm*"};
    EXPECT_EQ(choose_sites(shapes(), s).trained, std::vector<std::string>{"model.norm.weight"});
    s.exclude_modules = {"q_proj"};
    EXPECT_NE(error_of(s).find("exclude_modules leaves no module"), std::string::npos);
}

TEST(CountAdapter, GivesThePublishedCountsOfLlama7b) {
    ModelShapes s;
    s.name = "llama-7b";
    auto add = [&](const std::string& name, std::vector<int64_t> shape, bool linear) {
        s.parameters.push_back({name, shape, linear});
    };
    for (int i = 0; i < 32; ++i) {
        const std::string at = "model.layers." + std::to_string(i);
        for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
            add(at + ".self_attn." + name + ".weight", {4096, 4096}, true);
        for (const char* name : {"gate_proj", "up_proj"})
            add(at + ".mlp." + name + ".weight", {11008, 4096}, true);
        add(at + ".mlp.down_proj.weight", {4096, 11008}, true);
    }
    AdapterSettings five = settings(), seven = settings();
    five.target_modules = {"q_proj", "k_proj", "v_proj", "up_proj", "down_proj"};
    seven.target_regex = "all-linear";
    auto trainable = [&](AdapterSettings a, const std::string& method, int64_t rank) {
        a.method = method;
        a.rank = rank;
        return count_adapter(s, a).trainable;
    };
    EXPECT_EQ(trainable(five, "lora", 32), 56098816);
    EXPECT_EQ(trainable(five, "dora", 32), 56975360);
    EXPECT_EQ(trainable(five, "dora", 4), 7888896);
    EXPECT_EQ(trainable(seven, "dora", 64), 161267712);
    EXPECT_EQ(trainable(seven, "vera", 1024), 1589248);
    EXPECT_EQ(trainable(seven, "dvora", 1024), 2949120);
    AdapterSettings granular = five; // the paper's table 6: magnitudes of all seven, pairs on q, k, v
    granular.target_modules = {"q_proj", "k_proj", "v_proj"};
    granular.magnitude_modules = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                  "gate_proj", "up_proj", "down_proj"};
    EXPECT_EQ(trainable(granular, "dora", 32), 26525696);
}

} // namespace
} // namespace dorabench
