// Reading one run: keys, types, bounds, names, places, and the words of the messages.
#include "harness/base/text.h"
#include "tests/harness/config/config_support.h"
#include <set>

namespace dorabench {
namespace {

using test::contains;
using test::Files;
using test::good_with;
using test::kGood;

TEST(Config, ReadsTheContractsExample) {
    Files files(kGood);
    RunSettings s = files.settings();
    EXPECT_EQ(s.name, "t");
    EXPECT_EQ(s.backend.shape, "llama-7b");
    EXPECT_EQ(s.adapter.rank, 8);
    EXPECT_EQ(s.adapter.alpha, 16);
    EXPECT_TRUE(s.adapter.has_alpha);
    EXPECT_EQ(s.train.data.at(0).name, "commonsense_170k");
    EXPECT_EQ(s.train.max_steps, 4);
    EXPECT_EQ(s.evaluate.tasks, std::vector<std::string>{"boolq"});
    EXPECT_EQ(s.seed, 42u);
}

TEST(Config, RendersLineCaretAndSuggestion) {
    EXPECT_EQ(Files(good_with("rank", "rnak")).wrong(), "x.yaml:5:3: adapter.rnak: no such key\n"
                                                        "      rnak: 8\n"
                                                        "      ^\n"
                                                        "did you mean \"rank\"?");
    EXPECT_EQ(Files(good_with("rank: 8", "rank: eight")).wrong(),
              "x.yaml:5:9: adapter.rank: expected an integer of at least 1 and at most 65536, got the string "
              "\"eight\"\n"
              "      rank: eight\n"
              "            ^");
}

TEST(Config, SaysEverythingThatIsWrongAtOnceInTheFilesOrder) {
    std::string text = Files("nam: t\nbackend: {type: lama, shape: llama-7c, dtype: fp32}\nadapter:\n  "
                             "method: dorra\n  rank: 0\n"
                             "train: {data: commonsense_17k, max_steps: -4, learning_rate: fast, batch_size: "
                             "1.5, shuffle: yes}\n"
                             "evaluate: {tasks: [boolqq], mode: generated}\n")
                           .wrong();
    std::vector<std::string> parts{"x.yaml:1:1: nam:",
                                   "x.yaml:2:17: backend.type",
                                   "x.yaml:2:30: backend.shape",
                                   "x.yaml:2:47: backend.dtype",
                                   "x.yaml:4:11: adapter.method",
                                   "x.yaml:5:9: adapter.rank",
                                   "x.yaml:6:15: train.data",
                                   "x.yaml:6:43: train.max_steps",
                                   "train.learning_rate",
                                   "train.batch_size",
                                   "write true",
                                   "x.yaml:7:20: evaluate.tasks",
                                   "evaluate.mode",
                                   "did you mean \"boolq\"?",
                                   "did you mean \"generate\"?"};
    size_t last = 0;
    for (const auto& part : parts) EXPECT_TRUE(contains(text, part));
    for (size_t i = 0; i < 4; ++i) {
        size_t at = text.find(parts[i]);
        EXPECT_GE(at, last);
        last = at;
    }
}

TEST(Config, IsStrictAboutTypes) {
    EXPECT_TRUE(contains(Files(good_with("rank: 8", "rank: '8'")).wrong(), "leave out the quotes"));
    EXPECT_TRUE(contains(Files(good_with("rank: 8", "rank: 8.0")).wrong(), "expected an integer"));
    EXPECT_TRUE(contains(Files(good_with("rank: 8", "rank: true")).wrong(), "expected an integer"));
    EXPECT_TRUE(contains(Files(good_with("name: t", "name: 7")).wrong(), "quote it: \"7\""));
    EXPECT_TRUE(contains(Files(good_with("[boolq]", "boolq")).wrong(), "write [boolq]"));
    EXPECT_TRUE(contains(Files(good_with("alpha: 16", "alpha: .inf")).wrong(), "expected a number above 0"));
    EXPECT_TRUE(contains(Files(good_with("adapter:", "results: [a]\nadapter:")).wrong(),
                         "expected a string, got a list"));
    EXPECT_EQ(Files(good_with("alpha: 16", "alpha: 1.6e1")).settings().adapter.alpha, 16);
}

TEST(Config, HoldsBounds) {
    for (const char* line : {"dropout: 1", "dropout: -0.1", "alpha: 0"})
        EXPECT_TRUE(contains(
            Files(good_with("alpha: 16",
                            std::string(line) == "alpha: 0" ? line : std::string("alpha: 16\n  ") + line))
                .wrong(),
            "expected a number"))
            << line;
    for (const char* line : {"max_steps: 0", "max_steps: 99999999999999999999"})
        EXPECT_TRUE(
            contains(Files(good_with("max_steps: 4", line)).wrong(), "expected an integer of at least 1"))
            << line;
    EXPECT_TRUE(
        contains(Files(good_with("max_steps: 4", "max_steps: 4\n  betas: [0.9, 1]")).wrong(), "train.betas"));
    EXPECT_TRUE(contains(Files(good_with("max_steps: 4", "max_steps: 4\n  betas: [0.9]")).wrong(),
                         "list of two numbers"));
}

TEST(Config, WantsExactlyOneOfTwins) {
    std::string both = Files(good_with("alpha: 16", "alpha: 16\n  scaling: 2.0")).wrong();
    EXPECT_TRUE(contains(
        both, "x.yaml:7:3: adapter.scaling: expected one of adapter.alpha and adapter.scaling, got both"));
    EXPECT_TRUE(contains(Files(good_with("  alpha: 16\n", "")).wrong(),
                         "dora needs exactly one of alpha and scaling"));
    EXPECT_TRUE(contains(Files(good_with("  max_steps: 4\n", "")).wrong(), "expected epochs or max_steps"));
    EXPECT_TRUE(
        contains(Files(good_with(", shape: llama-7b", "")).wrong(), "expected a checkpoint or a shape"));
    EXPECT_TRUE(
        contains(Files(good_with("max_steps: 4", "max_steps: 4\n  epochs: 1")).wrong(), "train.epochs"));
    RunSettings s = Files(good_with("alpha: 16", "scaling: 2.5")).settings();
    EXPECT_EQ(s.adapter.alpha, 20);
    EXPECT_TRUE(s.adapter.has_scaling && !s.adapter.has_alpha);
}

TEST(Config, NeedsNeitherTrainNorEvaluate) {
    RunSettings s = Files("backend: {type: llama, shape: llama-7b}\nadapter: {method: ft}\n").settings();
    EXPECT_TRUE(s.train.data.empty());
    EXPECT_TRUE(s.evaluate.tasks.empty());
    EXPECT_EQ(s.name, "x"); // the file's
    EXPECT_TRUE(contains(
        Files("backend: {type: llama, shape: llama-7b}\nadapter: {method: ft}\ntrain: {max_steps: 1}\n")
            .wrong(),
        "train.data: missing"));
    EXPECT_TRUE(contains(Files("").wrong(), "backend: missing"));
}

TEST(Config, ReadsEveryFormOfTrainingData) {
    auto data = [](const std::string& value) {
        return Files(good_with("commonsense_170k", value)).settings().train.data;
    };
    EXPECT_EQ(data("a/b.jsonl").at(0).name, "a/b.jsonl");
    EXPECT_EQ(data("[boolq, piqa]").at(1).name, "piqa");
    auto mixed = data("[{task: boolq, batch_size: 4}, piqa]");
    EXPECT_EQ(mixed.at(0).batch_size, 4);
    EXPECT_EQ(mixed.at(1).batch_size, 0);
    std::string text = Files(good_with("commonsense_170k", "[boolq, {task: piqqa, batchsize: 4}]")).wrong();
    EXPECT_TRUE(contains(text, "x.yaml:9:24: train.data.task: unknown name \"piqqa\""));
    EXPECT_TRUE(contains(text, "x.yaml:9:31: train.data.batchsize: no such key"));
    EXPECT_TRUE(contains(Files(good_with("commonsense_170k", "[[boolq]]")).wrong(),
                         "expected a string or a map, got a list"));
}

TEST(Config, ReadsTargetModulesAsListOrRegularExpression) {
    EXPECT_EQ(Files(good_with("[q_proj, v_proj]", "all-linear")).settings().adapter.target_regex,
              "all-linear");
    EXPECT_EQ(Files(good_with("[q_proj, v_proj]", "'.*\\.(q|v)_proj'")).settings().adapter.target_regex,
              ".*\\.(q|v)_proj");
    EXPECT_TRUE(contains(Files(good_with("  target_modules: [q_proj, v_proj]\n", "")).wrong(),
                         "needs the modules to adapt"));
    EXPECT_TRUE(contains(Files(good_with("[q_proj, v_proj]", "[]")).wrong(), "got an empty list"));
    EXPECT_TRUE(contains(Files(good_with("[q_proj, v_proj]", "[q_proj, 3]")).wrong(), "x.yaml:7:28"));
}

TEST(Config, ReadsPatternsGroupsAndAutomaticBatchSizes) {
    RunSettings s =
        Files(good_with("alpha: 16",
                        "alpha: 16\n  rank_pattern: {zz: 4, aa: 2}\n  alpha_pattern: {q_proj: 8}") +
              "  batch_size: auto\n")
            .settings({"train.groups=[{match: '*lora_B*', learning_rate_ratio: 16}]"});
    EXPECT_EQ(s.adapter.rank_pattern,
              (std::vector<std::pair<std::string, int64_t>>{{"zz", 4}, {"aa", 2}})); // the file's order
    EXPECT_EQ(s.adapter.alpha_pattern.at(0).second, 8);
    EXPECT_EQ(s.train.groups.at(0).learning_rate_ratio, 16);
    EXPECT_EQ(s.evaluate.batch_size, 0);
    EXPECT_EQ(Files(kGood).settings({"evaluate.batch_size=8"}).evaluate.batch_size, 8);
    EXPECT_TRUE(
        contains(Files(kGood).wrong({"evaluate.batch_size=0"}), "expected auto or an integer of at least 1"));
    EXPECT_TRUE(contains(Files(kGood).wrong({"adapter.rank_pattern={q: 0}"}), "adapter.rank_pattern"));
    EXPECT_TRUE(
        contains(Files(kGood).wrong({"train.groups=[{learning_rate: 1}]"}), "train.groups.match: missing"));
}

TEST(Config, RefusesKeysThatTheMethodDoesNotUse) {
    std::string vera = good_with("method: dora", "method: vera");
    EXPECT_TRUE(contains(Files(vera).wrong(), "x.yaml:6:3: adapter.alpha: the method vera does not use it"));
    EXPECT_TRUE(
        contains(Files(good_with("alpha: 16", "alpha: 16\n  d_initial: 0.1")).wrong(), "adapter.d_initial"));
    EXPECT_TRUE(contains(Files(good_with("shape: llama-7b", "shape: llama-7b, vision_tower: a")).wrong(),
                         "the backend llama"));
    EXPECT_TRUE(
        contains(Files(good_with("method: dora", "method: none")).wrong(), "the method none trains nothing"));
    EXPECT_EQ(
        Files(good_with("method: dora", "method: vera\n  norm_grad: null")).wrong({"adapter.alpha=null"}),
        "");
}

TEST(Config, IgnoresThemWhereASweepBringsTheMethod) {
    Files files(good_with("method: dora", "norm_grad: full") +
                "sweep: {adapter.method: [dora, vera, ft, none]}\n");
    EXPECT_EQ(files.settings({}, {{"adapter.method", "dora"}}).adapter.norm_grad, "full");
    RunSettings vera = files.settings({}, {{"adapter.method", "vera"}}),
                none = files.settings({}, {{"adapter.method", "none"}});
    EXPECT_FALSE(vera.adapter.has_alpha);
    EXPECT_EQ(vera.adapter.norm_grad, "detached"); // the default: what is ignored leaves no trace
    EXPECT_TRUE(none.train.data.empty());
    EXPECT_TRUE(none.adapter.target_modules.empty());
}

TEST(Config, IgnoresThemWhereAnIncludeBringsThemOrAnOverrideTheMethod) {
    Files files("include: [part.yaml]\nadapter: {method: vera}\n");
    files.add("part.yaml", kGood);
    EXPECT_FALSE(files.settings().adapter.has_alpha);
    EXPECT_FALSE(Files(kGood).settings({"adapter.method=vera"}).adapter.has_alpha);
    EXPECT_TRUE(
        contains(Files(kGood).wrong({"adapter.method=vera", "adapter.alpha=3"}),
                 "command line: adapter.alpha: the method vera does not use it\n    adapter.alpha=3"));
}

TEST(Config, ListsWhatDoesNotDefineARun) {
    RunSettings vera;
    vera.backend.type = "llama";
    vera.adapter.method = "vera";
    auto keys = unused_keys(vera);
    for (const char* key : {"adapter.alpha", "adapter.norm_grad", "backend.vision_tower",
                            "backend.double_quant", "train", "evaluate"})
        EXPECT_NE(std::find(keys.begin(), keys.end(), key), keys.end()) << key;
    EXPECT_EQ(std::find(keys.begin(), keys.end(), "adapter.d_initial"), keys.end());
    EXPECT_EQ(std::set(keys.begin(), keys.end()).size(), keys.size());
    EXPECT_TRUE(method_uses("a plug-in's", "alpha"));
}

TEST(Config, ChecksThatNamedPathsExist) {
    test::TempDir here;
    for (const char* path : {"/nowhere/model", "./nowhere", "~/nowhere", "a/b/c", "nowhere"})
        EXPECT_TRUE(contains(Files(good_with("shape: llama-7b", cat("checkpoint: ", path))).wrong(),
                             cat("x.yaml:2:36: backend.checkpoint: no such file or folder: ", path)));
    ::setenv("HF_HUB_CACHE", here.path().c_str(), 1);
    Files hub(good_with("shape: llama-7b", "checkpoint: org/model"));
    EXPECT_TRUE(contains(hub.wrong(), "nor a hub id in the local HF cache"));
    std::filesystem::create_directories(here / "models--org--model");
    EXPECT_EQ(hub.wrong(), "");
    EXPECT_EQ(Files(good_with("shape: llama-7b", "checkpoint: " + here.path())).wrong(), "");
    EXPECT_TRUE(contains(Files(kGood).wrong({"adapter.init=gausian"}), "did you mean \"gaussian\"?"));
    EXPECT_EQ(Files(kGood).wrong({"adapter.init=" + here.path()}), "");
}

TEST(Config, SuggestsTheSectionOfAMisplacedKey) {
    EXPECT_TRUE(contains(Files("rank: 8\n" + std::string(kGood)).wrong(), "did you mean \"adapter.rank\"?"));
}

TEST(Config, EveryCaseOfTheSharedFileSaysWhatItShould) {
    DORABENCH_NEEDS_SHARED();
    auto cases = nlohmann::json::parse(read_file(test::shared_dir() + "/golden/config/bad.json"))["cases"];
    ASSERT_GE(cases.size(), 9u);
    for (const auto& c : cases) {
        SCOPED_TRACE(c["name"].get<std::string>());
        Files files("");
        files.add("bad.yaml", c["yaml"]);
        std::string text;
        try {
            std::vector<Diagnostic> errors;
            ConfigFile::load(files.path("bad.yaml"), {}).parse({}, test::known_names(), errors);
            if (!errors.empty()) throw ConfigErrors(errors);
        } catch (const ConfigErrors& error) {
            text = error.what();
            EXPECT_EQ(exit_code(error.kind()), 2);
        }
        EXPECT_EQ(text.empty(), c["exit"] == 0) << text;
        for (const std::string word : c["says"]) EXPECT_TRUE(contains(text, word));
        if (c.contains("near"))
            EXPECT_TRUE(contains(text, "did you mean \"" + c["near"].get<std::string>() + "\""));
    }
}

} // namespace
} // namespace dorabench
