// Settings to text and back, hostile files, and the schema.
#include "harness/base/rng.h"
#include "tests/harness/config/config_support.h"

namespace dorabench {
namespace {

using test::contains;
using test::Files;
using test::good_with;
using test::kGood;

std::string dumped(const RunSettings& settings) {
    return settings_json(settings).dump() +
           cat(" alpha ", settings.adapter.alpha, settings.adapter.has_alpha, settings.adapter.has_scaling);
}

TEST(Dump, NamesEveryKeyInTheContractsNesting) {
    auto json = settings_json(Files(kGood).settings());
    EXPECT_EQ(json["adapter"]["rank"], 8);
    EXPECT_EQ(json["adapter"]["norm_grad"], "detached");
    EXPECT_EQ(json["train"]["betas"][1], 0.999);
    EXPECT_EQ(json["train"]["data"][0]["task"], "commonsense_170k");
    EXPECT_EQ(json["evaluate"]["batch_size"], "auto");
    EXPECT_TRUE(json["evaluate"]["template"].is_null());
    EXPECT_FALSE(json["adapter"].contains("scaling")); // of twins the one that was given
    EXPECT_FALSE(json["adapter"].contains("d_initial"));
}

TEST(Dump, LoadsBackToTheSameSettings) {
    test::TempDir checkpoint;
    std::vector<std::pair<std::string, std::vector<std::string>>> cases{
        {kGood, {}},
        {kGood,
         {"adapter.scaling=0.1", "train.epochs=2.5", "train.warmup_ratio=0.03", "seed=18446744073709551615"}},
        {kGood, {"train.eps=1e-08", "train.learning_rate=3.3333333333333335e-05", "adapter.dropout=0.05"}},
        {kGood,
         {"adapter.rank_pattern={zz: 4, aa: 2}", "adapter.target_modules='.*\\.(q|v)_proj'",
          "adapter.train_also=['*bias', 'a: b']"}},
        {kGood,
         {"train.data=[{task: boolq, batch_size: 3}, 'x y.jsonl']",
          "train.groups=[{match: '*', weight_decay: 0}]"}},
        {kGood,
         {"name='a \"quoted\" $${X} name: # ü\t'", "results='~'", "data_dir='null'",
          "adapter.exclude_modules=['8', 'true', '']"}},
        {kGood, {"adapter.method=vera", "adapter.d_initial=0.2", "backend.checkpoint=" + checkpoint.path()}},
        {kGood, {"adapter.method=none"}},
        {kGood,
         {"backend.type=llava", "backend.image_processing=crop", "backend.quantization=nf4",
          "backend.double_quant=false"}},
        {"backend: {type: vlbart, shape: bart-base}\nadapter: {method: ft}\n", {}}};
    cases[5].second.back() = "adapter.exclude_modules=['8', 'true']"; // an empty name is refused
    for (const auto& [text, overrides] : cases) {
        RunSettings once = Files(text).settings(overrides);
        SCOPED_TRACE(settings_yaml(once));
        EXPECT_EQ(dumped(Files(settings_yaml(once)).settings()), dumped(once));
        EXPECT_EQ(dumped(settings_from_json(settings_json(once))), dumped(once));
        EXPECT_EQ(settings_yaml(Files(settings_yaml(once)).settings()), settings_yaml(once));
    }
}

TEST(Dump, ReadsNoSettingsOfAnotherVersionOrShape) {
    EXPECT_TRUE(
        contains(Files("schema_version: 2\n" + std::string(kGood)).wrong(), "written by another version"));
    for (const char* text :
         {"[]", "7", R"({"adapter": {"rank": "8"}})", R"({"nonsense": 1})", R"({"train": [1]})"})
        EXPECT_THROW(settings_from_json(nlohmann::json::parse(text)), Error) << text;
}

TEST(Hostile, RandomChangesNeverCrash) {
    const std::string seed = "seed: [1, 2]\n" + std::string(kGood) +
                             "  template: null\nsweep:\n  adapter.rank: &r [4, 8]\n  zip: {train.batch_size: "
                             "*r, train.learning_rate: [1e-4, \"${X:-2e-4}\"]}\n"
                             "match: {trainable: 1%}\nselect: {over: train.learning_rate}\ninclude: []\n";
    ASSERT_EQ(Files(seed).wrong(), "");
    Rng rng(11, "mutations");
    int parsed = 0, refused = 0;
    for (int round = 0; round < 1500; ++round) {
        std::string text = seed;
        for (uint64_t changes = 1 + rng.below(6); changes > 0; --changes) {
            size_t at = rng.below(text.size());
            switch (rng.below(4)) {
            case 0:
                text[at] = static_cast<char>(rng.below(256));
                break;
            case 1:
                text[at] = "{}[]:,&*#'\"|>-?! \n\t%@$"[rng.below(23)];
                break;
            case 2:
                text.erase(at, 1 + rng.below(8));
                break;
            default:
                text.insert(at, text.substr(rng.below(text.size()), rng.below(30)));
            }
            if (text.empty()) text = "a";
        }
        Files files(text);
        std::vector<Diagnostic> errors;
        try {
            ConfigFile config = files.load();
            RunSettings settings = config.parse({}, test::known_names(), errors);
            if (errors.empty()) {
                ++parsed;
                EXPECT_EQ(dumped(Files(settings_yaml(settings)).settings()), dumped(settings)) << text;
            } else {
                ++refused;
                EXPECT_FALSE(std::string(ConfigErrors(errors).what()).empty());
            }
        } catch (const ConfigErrors& error) {
            ++refused;
            for (const auto& d : error.diagnostics()) EXPECT_FALSE(d.message.empty()) << text;
        }
    }
    EXPECT_GT(parsed, 10);
    EXPECT_GT(refused, 500);
}

TEST(Hostile, NestingBombsAndBinariesAreErrorsWithAPlace) {
    std::string deep = "name: ";
    for (int i = 0; i < 10'000; ++i) deep += "[";
    EXPECT_TRUE(contains(Files(deep).wrong(), "x.yaml:1:"));
    EXPECT_TRUE(contains(Files("\xFF\xFE\n").wrong(), "x.yaml:1:1: expected UTF-8"));
    EXPECT_TRUE(contains(Files("a:\n\t- b\n").wrong(), "indent with spaces"));
    EXPECT_TRUE(contains(Files("name: a\nname: b\n" + std::string(kGood).substr(8)).wrong(),
                         "x.yaml:2:1: name: duplicate key"));
    EXPECT_EQ(Files("\xEF\xBB\xBF" + std::string(kGood)).wrong(), "");
    EXPECT_TRUE(contains(Files("- a\n").wrong(), "expected a map of settings, got a list"));
    EXPECT_TRUE(contains(Files("just text").wrong(), "expected a map of settings"));
}

TEST(Schema, DescribesEveryKeyOnce) {
    auto schema = nlohmann::json::parse(config_schema());
    EXPECT_EQ(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    EXPECT_EQ(schema["additionalProperties"], false);
    for (const auto& key : config_keys()) {
        size_t dot = key.find('.');
        auto& properties = schema["properties"];
        if (dot == std::string::npos)
            EXPECT_TRUE(properties.contains(key)) << key;
        else
            EXPECT_TRUE(properties[key.substr(0, dot)]["properties"].contains(key.substr(dot + 1))) << key;
        EXPECT_TRUE(properties["sweep"]["properties"].contains(key)) << key;
    }
    EXPECT_EQ(schema["properties"]["adapter"]["properties"]["rank"]["anyOf"][0]["minimum"], 1.0);
    EXPECT_EQ(schema["properties"]["adapter"]["properties"]["rank"]["default"], 8);
    EXPECT_EQ(schema["properties"]["backend"]["properties"]["dtype"]["anyOf"][0]["enum"][1], "bfloat16");
    EXPECT_EQ(schema["properties"]["adapter"]["allOf"][0]["not"]["required"][1], "scaling");
}

} // namespace
} // namespace dorabench
