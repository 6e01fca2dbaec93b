// The command line in this process: words in, exit code, stdout and stderr out.
#include "harness/base/env.h"
#include "harness/builtin.h"
#include "harness/plan/plan.h"
#include "harness/store/store.h"
#include "tests/support/paths.h"
#include <cmath>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

// The program finds specs, configs and published figures beside itself; so must this test program.
void ensure_share_folder() {
    std::string share = executable_folder() + "/share/dora-bench";
    fs::create_directories(share);
    std::error_code there_already;
    const std::pair<const char*, const char*> links[] = {
        {"specs", "/tasks/specs"}, {"configs", "/configs"}, {"baselines", "/results/baselines"}};
    for (const auto& [name, source] : links)
        if (!fs::exists(share + "/" + name))
            fs::create_directory_symlink(test::source_dir() + source, share + "/" + name, there_already);
}

struct Said {
    int code = 0;
    std::string out, err;
    json as_json() const { return json::parse(out, nullptr, false); }
};

class CliTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { ensure_share_folder(); }

    Said run(std::vector<std::string> words) {
        words.insert(words.begin(), "dora-bench");
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        Registries registries;
        register_builtin(registries);
        ::testing::internal::CaptureStdout();
        ::testing::internal::CaptureStderr();
        Said said;
        said.code = run_cli(static_cast<int>(words.size()), argv.data(), registries);
        said.out = ::testing::internal::GetCapturedStdout();
        said.err = ::testing::internal::GetCapturedStderr();
        return said;
    }

    std::string config(const std::string& text) {
        std::string path = temp_ / "x.yaml";
        std::ofstream(path) << text;
        return path;
    }

    // A finished run of 200 items of which `right` are answered.
    void add_run(const std::string& id, const std::string& method, int right, uint64_t seed = 1) {
        RunFolder folder(temp_ / "results", id);
        make_folder(folder.file("samples"));
        std::ofstream samples(folder.file("samples/boolq.jsonl"));
        for (int i = 0; i < 200; ++i)
            samples << json{{"id", std::to_string(i)},
                            {"prompt", "Is it?"},
                            {"target", "true"},
                            {"prediction", "true"},
                            {"score", i < right ? 1 : 0}}
                           .dump()
                    << "\n";
        double value = right / 200.0;
        TaskResult result;
        result.primary = "accuracy";
        result.metrics["accuracy"] = {
            value, std::sqrt(value * (1 - value) / 200), value - 0.06, value + 0.06, 200, false};
        result.n = 200;
        result.chance = 0.5;
        result.has_chance = true;
        json metrics = {{"schema_version", 1}, {"status", "done"},
                        {"name", "exp"},       {"method", method},
                        {"rank", 8},           {"seed", seed},
                        {"backbone", "tiny"},  {"trainable", 1000},
                        {"total", 100000},     {"tasks", {{"boolq", task_result_json(result)}}},
                        {"average", value}};
        folder.write_json("metrics.json", metrics);
        std::ofstream(folder.file("config.yaml"))
            << "name: exp\nadapter: {method: " << method << ", rank: 8}\n";
        std::ofstream(folder.file("steps.jsonl"))
            << "{\"step\":0,\"loss\":2.5,\"tokens\":100,\"seconds\":0.5}\n{\"step\":1,\"loss\":1.25,"
               "\"tokens\":100,\"seconds\":0.5}\n{\"st";
    }
    std::string results() { return temp_ / "results"; }
    test::TempDir temp_;
};

const char* const kSmall = "name: x\nbackend: {type: llama, shape: llama-7b}\n"
                           "adapter: {method: dora, rank: 32, scaling: 2, target_modules: [q_proj, k_proj, "
                           "v_proj, up_proj, down_proj]}\n";

TEST_F(CliTest, NamesTheNearestCommandAndOption) {
    Said said = run({"parms", "x.yaml"});
    EXPECT_EQ(said.code, 2);
    EXPECT_THAT(said.err, HasSubstr("did you mean \"params\"?"));
    said = run({"--format", "json", "params", "--rnaks=4"});
    EXPECT_EQ(said.code, 2);
    EXPECT_THAT(said.err, HasSubstr("did you mean \"--ranks\"?"));
    EXPECT_EQ(said.err.find("error:"), said.err.rfind("error:"));
    EXPECT_EQ(run({}).code, 2);
    EXPECT_EQ(run({"params"}).code, 2);
    EXPECT_EQ(run({"run", "x.yaml", "--jobs", "many"}).code, 2);
}

TEST_F(CliTest, PrintsHelpWithExamplesAndItsVersion) {
    Said said = run({"run", "--help"});
    EXPECT_EQ(said.code, 0);
    EXPECT_THAT(said.out, HasSubstr("Examples:\n  dora-bench run "));
    said = run({"--version"});
    EXPECT_EQ(said.code, 0);
    EXPECT_THAT(said.out, HasSubstr(version()));
    for (const char* command :
         {"sweep", "params", "eval", "validate", "report", "show", "list", "compare", "check", "analyze",
          "merge", "score", "generate", "tokenize", "metric", "bench", "schema", "doctor"})
        EXPECT_EQ(run({command, "--help"}).code, 0) << command;
}

TEST_F(CliTest, TakesGlobalOptionsAnywhere) {
    std::string path = config(kSmall);
    EXPECT_EQ(run({"--format", "json", "params", path}).as_json()["trainable"], 56975360);
    EXPECT_EQ(run({"params", path, "--format", "json", "--quiet"}).as_json()["trainable"], 56975360);
    EXPECT_EQ(run({"params", "--format=json", path, "adapter.rank=16"}).as_json()["trainable"], 28925952);
}

TEST_F(CliTest, PrintsConfigErrorsOnceWithTheirPlaces) {
    Said said =
        run({"params",
             config("name: x\nbackend: {type: llama, shape: llama-7b}\nadapter: {method: dora, rnak: 3}\n")});
    EXPECT_EQ(said.code, 2);
    EXPECT_THAT(said.err, HasSubstr("x.yaml:3:"));
    EXPECT_THAT(said.err, HasSubstr("did you mean \"rank\""));
    EXPECT_EQ(said.out, "");
}

TEST_F(CliTest, ParamsAgreeWithThePublishedIntegers) {
    DORABENCH_NEEDS_SHARED();
    json cases = json::parse(std::ifstream(test::shared_dir() + "/golden/params/published.json"))["cases"];
    ASSERT_FALSE(cases.empty());
    for (const json& one : cases) {
        json got =
            run({"params",
                 config(json{{"name", "count"}, {"backend", one["backend"]}, {"adapter", one["adapter"]}}
                            .dump()),
                 "--format", "json"})
                .as_json();
        EXPECT_EQ(got["trainable"], one["trainable"]) << one["name"];
        if (one.contains("total")) EXPECT_EQ(got["total"], one["total"]) << one["name"];
    }
}

TEST_F(CliTest, ParamsShowThePublishedFigureWithAVerdict) {
    std::string path = config(kSmall);
    json got = run({"params", path, "--format", "json"}).as_json();
    EXPECT_EQ(got["published"]["percent"], 0.84);
    EXPECT_EQ(got["published"]["verdict"], "matches");
    int64_t sum = 0;
    for (const json& module : got["modules"]) sum += module["trainable"].get<int64_t>();
    EXPECT_EQ(sum, got["trainable"]);
    got = run({"params", path, "adapter.method=lora", "adapter.rank=16", "--format", "json"}).as_json();
    EXPECT_THAT(got["published"]["verdict"], HasSubstr("differs: 0.41"));
    EXPECT_TRUE(
        run({"params", path, "adapter.rank=33", "--format", "json"}).as_json()["published"].is_null());
    Said table = run({"params", path, "--ranks", "4,8,16"});
    EXPECT_THAT(table.out, HasSubstr("7,888,896"));
    EXPECT_THAT(table.out, HasSubstr("28,925,952"));
    EXPECT_EQ(run({"params", path, "--ranks", "4,8", "--format", "json"}).as_json().size(), 2u);
}

// A folder's name need not say which model it holds: LLaVA-1.5-7B is known by its number of parameters.
TEST_F(CliTest, ParamsKnowThePublishedLlavaByItsSize) {
    fs::create_directories(temp_ / "mine");
    std::ofstream(temp_ / "mine/config.json")
        << R"({"model_type": "llava_llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
               "num_attention_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096, "mm_hidden_size": 1024,
               "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
               "mm_vision_tower": "openai/clip-vit-large-patch14-336"})";
    setenv("LLAVA_BASE", (temp_ / "mine").c_str(), 1);
    setenv("CLIP_L_336", "openai/clip-vit-large-patch14-336", 1);
    const std::map<std::string, std::pair<int64_t, std::string>> expected{
        {"lora", {340'795'392, "truncation instead of rounding gives it"}},
        {"dora", {342'155'264, "matches"}}};
    for (const auto& [method, one] : expected)
        for (const std::string where : {"", "backend.shape=llava-1.5-7b"}) {
            std::vector<std::string> words{"params",
                                           test::source_dir() + "/configs/llava/llava_7b_" + method + ".yaml",
                                           "--format", "json", "backend.vision_tower=null"};
            if (!where.empty()) words.push_back(where);
            const Said said = run(words);
            const json got = said.as_json();
            ASSERT_TRUE(got.is_object()) << said.err;
            EXPECT_EQ(got["trainable"], one.first) << method << where;
            ASSERT_TRUE(got["published"].is_object()) << method << where;
            EXPECT_EQ(got["published"]["percent"], method == "lora" ? 4.61 : 4.63);
            EXPECT_THAT(got["published"]["verdict"], HasSubstr(one.second));
        }
    const Said adapter_alone =
        run({"params", test::source_dir() + "/configs/llava/llava_7b_dora.yaml", "--format", "json",
             "backend.vision_tower=null", "adapter.train_also=[]"});
    EXPECT_TRUE(adapter_alone.as_json()["published"].is_null()) << adapter_alone.err;
}

TEST_F(CliTest, ListsWhatThereIs) {
    for (const char* what : {"backends", "adapters", "tasks", "metrics", "configs"}) {
        json rows = run({"list", what, "--format", "json"}).as_json();
        EXPECT_TRUE(rows.is_array() && !rows.empty()) << what;
    }
    EXPECT_EQ(run({"list", "adapters", "--format", "json"}).as_json().size(), adapter_methods().size());
    EXPECT_THAT(run({"list", "taks"}).err, HasSubstr("did you mean \"tasks\"?"));
    add_run("00aa", "dora", 150);
    EXPECT_EQ(run({"list", "runs", "--results", results(), "--format", "json"}).as_json()[0]["run"], "00aa");
}

TEST_F(CliTest, ReportsInEveryFormat) {
    EXPECT_EQ(run({"report", "--results", results()}).code, 6);
    add_run("00aa", "dora", 150);
    add_run("00bb", "lora", 90);
    EXPECT_THAT(run({"report", "--results", results()}).out, HasSubstr("!45.0"));
    EXPECT_THAT(run({"report", "--results", results(), "--format", "markdown"}).out,
                HasSubstr("| dora | 8 |"));
    EXPECT_THAT(run({"report", "--results", results(), "--format", "latex"}).out, HasSubstr("\\toprule"));
    EXPECT_EQ(run({"report", "00aa", "--results", results(), "--format", "json"})
                  .as_json()["backbones"][0]["rows"]
                  .size(),
              1u);
    EXPECT_EQ(run({"report", "ffff", "--results", results()}).code, 2);
    EXPECT_EQ(run({"report", "--results", results(), "--format", "xml"}).code, 2);
    EXPECT_EQ(run({"report", "--results", results(), "--to", temp_ / "r.csv", "--format", "csv"}).out, "");
    EXPECT_TRUE(fs::exists(temp_ / "r.csv"));
}

TEST_F(CliTest, ShowsARun) {
    add_run("00aa", "dora", 150);
    Said said = run({"show", "00a", "--results", results()});
    EXPECT_EQ(said.code, 0) << said.err;
    EXPECT_THAT(said.out, HasSubstr("steps 2, loss 2.5000 to 1.2500"));
    EXPECT_THAT(said.out, HasSubstr("prompt: Is it?"));
    json got = run({"show", "exp", "--results", results(), "--format", "json"}).as_json();
    EXPECT_EQ(got["run"], "00aa");
    EXPECT_EQ(got["steps"]["tokens_per_second"], 200.0);
    EXPECT_EQ(run({"show", "nothing", "--results", results()}).code, 2);
}

TEST_F(CliTest, ComparesTwoMethods) {
    add_run("00aa", "dora", 150);
    add_run("00bb", "lora", 130);
    json got = run({"compare", "lora", "00aa", "--results", results(), "--format", "json"}).as_json();
    EXPECT_NEAR(got["tasks"]["boolq"]["difference"].get<double>(), 0.1, 1e-12);
    EXPECT_EQ(got["tasks"]["boolq"]["only_b_right"], 20);
    EXPECT_LT(got["tasks"]["boolq"]["p"].get<double>(), 1e-4);
    EXPECT_THAT(run({"compare", "lora", "dora", "--results", results()}).out, HasSubstr("B is better"));
    EXPECT_EQ(run({"compare", "lora", "nothing", "--results", results()}).code, 2);
}

TEST_F(CliTest, ChecksAgainstABaseline) {
    add_run("00aa", "dora", 150);
    std::string baseline = temp_ / "baseline.json";
    EXPECT_EQ(run({"check", "--results", results(), "--baseline", baseline, "--update"}).code, 0);
    EXPECT_EQ(run({"check", "--results", results(), "--baseline", baseline}).code, 0);
    add_run("00aa", "dora", 138);
    Said said =
        run({"check", "--results", results(), "--baseline", baseline, "--junit", temp_ / "junit.xml"});
    EXPECT_EQ(said.code, 3);
    EXPECT_THAT(said.err, HasSubstr("regressed"));
    std::ofstream(temp_ / "results/runs/00aa/config.yaml") << "evaluate: {num_beams: 1}\n";
    said = run({"check", "--results", results(), "--baseline", baseline});
    EXPECT_EQ(said.code, 4);
    EXPECT_THAT(said.err, HasSubstr("evaluate.num_beams"));
    EXPECT_EQ(run({"check", "--results", results(), "--baseline", temp_ / "absent.json"}).code, 6);
}

TEST_F(CliTest, DoctorTellsAboutProgramAndConfiguration) {
    json rows = run({"doctor", "--format", "json"}).as_json();
    ASSERT_TRUE(rows.is_array());
    EXPECT_EQ(rows[0]["what"], "dora-bench");
    Said said = run({"doctor",
                     config("name: x\nbackend: {type: llama, shape: tiny, dtype: float32, device: "
                            "cpu}\nadapter: {method: none}\n"),
                     "--quiet"});
    EXPECT_EQ(said.code, 0) << said.out << said.err;
    EXPECT_THAT(said.out, HasSubstr("0 of 18 answers flipped"));
}

} // namespace
} // namespace dorabench
