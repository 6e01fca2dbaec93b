// Every experiment file that ships is planned with its variables set to a small checkpoint.
#include "harness/base/text.h"
#include "harness/builtin.h"
#include "harness/plan/plan.h"
#include "tests/support/paths.h"
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>

namespace dorabench {
namespace {

namespace fs = std::filesystem;

std::string configs() { return test::source_dir() + "/configs"; }

std::vector<std::string> runnable() {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(configs())) {
        std::string name = fs::relative(entry.path(), configs()).string();
        if (entry.path().extension() == ".yaml" && !starts_with(name, "parts/") &&
            !starts_with(name, "quickstart/"))
            files.push_back(name);
    }
    std::sort(files.begin(), files.end());
    return files;
}

// Shapes come from config.json alone; the names are those of tasks/specs.
class ConfigsTest : public ::testing::Test {
protected:
    ConfigsTest() {
        fs::create_directories(temp_ / "tiny");
        std::ofstream(temp_ / "tiny/config.json")
            << R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 32,
                   "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64,
                   "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false,
                   "hidden_act": "silu"})";
        for (const char* name : {"LLAMA_7B", "LLAMA_13B", "LLAMA2_7B", "LLAMA3_8B"})
            setenv(name, (temp_ / "tiny").c_str(), 1);
        fs::create_directories(temp_ / "bart-base");
        std::ofstream(temp_ / "bart-base/config.json")
            << R"({"architectures": ["BartModel"], "model_type": "bart", "d_model": 768, "encoder_layers": 6, "decoder_layers": 6,
                   "encoder_attention_heads": 12, "decoder_attention_heads": 12, "encoder_ffn_dim": 3072,
                   "decoder_ffn_dim": 3072, "vocab_size": 50265, "max_position_embeddings": 1024, "bos_token_id": 0,
                   "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2, "activation_function": "gelu",
                   "normalize_before": false, "normalize_embedding": true, "scale_embedding": false, "num_beams": 4})";
        setenv("BART_BASE", (temp_ / "bart-base").c_str(), 1);
        fs::create_directories(temp_ / "llava");
        std::ofstream(temp_ / "llava/config.json")
            << R"({"model_type": "llava_llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                   "num_attention_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096, "mm_hidden_size": 1024,
                   "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
                   "mm_vision_tower": "openai/clip-vit-large-patch14-336"})";
        fs::create_directories(temp_ / "clip");
        std::ofstream(temp_ / "clip/config.json")
            << R"({"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
                   "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768})";
        setenv("LLAVA_BASE", (temp_ / "llava").c_str(), 1);
        setenv("CLIP_L_336", (temp_ / "clip").c_str(), 1);
        register_builtin(registries_);
        for (const char* task : {"boolq", "piqa", "siqa", "hellaswag", "winogrande", "arc_easy",
                                 "arc_challenge", "obqa", "commonsense_170k"}) {
            EXPECT_TRUE(fs::exists(test::source_dir() + "/tasks/specs/llm_adapters/" + task + ".yaml") ||
                        fs::exists(test::source_dir() + "/tasks/specs/training/" + task + ".yaml"))
                << task;
            names_.tasks.push_back(task);
        }
        for (const char* task : {"vqa", "gqa", "nlvr2", "coco_caption", "tvqa", "how2qa", "tvc", "yc2c"}) {
            EXPECT_TRUE(fs::exists(test::source_dir() + "/tasks/specs/vlbart/" + task + ".yaml")) << task;
            names_.tasks.push_back(task);
        }
        for (const char* task : {"vqav2", "gqa", "vizwiz", "scienceqa", "textvqa", "pope", "mmbench"}) {
            EXPECT_TRUE(fs::exists(test::source_dir() + "/tasks/specs/llava/" + task + ".yaml")) << task;
            names_.tasks.push_back(cat("llava/", task));
        }
        names_.backends = registries_.backends.names();
        names_.methods = adapter_methods();
        names_.templates = {"llm_adapters", "alpaca", "orca_math", "vicuna_v1"};
        names_.tasks.push_back("orca_math");
    }
    RunPlan plan(const std::string& name) {
        return make_plan(ConfigFile::load(configs() + "/" + name, {}), registries_.backends, names_);
    }
    test::TempDir temp_;
    Registries registries_;
    KnownNames names_;
};

TEST_F(ConfigsTest, AreAllFound) {
    std::map<std::string, int> count;
    for (const std::string& name : runnable()) ++count[name.substr(0, name.find('/'))];
    EXPECT_EQ(count["commonsense"], 14);
    EXPECT_EQ(count["instruction"], 16);
    EXPECT_EQ(count["qdora"], 4);
    EXPECT_EQ(count["sweeps"], 2);
    EXPECT_EQ(count["vlbart"], 6);
    EXPECT_EQ(count["llava"], 3);
    EXPECT_EQ(count["llama3_commonsense.yaml"], 1);
}

TEST_F(ConfigsTest, PlanWithoutAnError) {
    for (const std::string& name : runnable()) {
        SCOPED_TRACE(name);
        try {
            RunPlan made = plan(name);
            EXPECT_TRUE(made.notes.empty());
            for (const PlannedRun& run : made.runs) EXPECT_GT(run.count.trainable, 0);
        } catch (const std::exception& error) {
            ADD_FAILURE() << error.what();
        }
    }
}

TEST_F(ConfigsTest, BeginWithTheCommandThatRunsThem) {
    for (const std::string& name : runnable()) {
        std::ifstream file(configs() + "/" + name);
        std::string line;
        std::getline(file, line);
        EXPECT_EQ(line, "# dora-bench run configs/" + name);
    }
}

// Table 4 of arXiv:2402.09353: 4.61 (4.616 cut off) and 4.63 percent.
TEST_F(ConfigsTest, LlavaTrainsAndCountsWhatThePaperDid) {
    for (const auto& [name, trainable] :
         std::map<std::string, int64_t>{{"lora", 340795392}, {"dora", 342155264}})
        EXPECT_EQ(plan("llava/llava_7b_" + name + ".yaml").runs.at(0).count.trainable, trainable) << name;
}

// Tables 2 and 3 of arXiv:2402.09353: 5.93, 5.96, 5.17 and 5.19 percent.
TEST_F(ConfigsTest, VlBartTrainsAndCountsWhatThePaperDid) {
    const std::map<std::string, std::pair<int64_t, int64_t>> published{
        {"image_ft", {141'156'864, 141'156'864}}, {"video_ft", {139'977'216, 139'977'216}},
        {"image_lora", {8'786'688, 148'234'752}}, {"image_dora", {8'838'912, 148'262'400}},
        {"video_lora", {7'607'040, 147'055'104}}, {"video_dora", {7'634'688, 147'082'752}}};
    for (const auto& [name, numbers] : published) {
        const RunPlan made = plan("vlbart/" + name + ".yaml");
        ASSERT_EQ(made.runs.size(), 1u);
        EXPECT_EQ(made.runs[0].count.trainable, numbers.first) << name;
        EXPECT_EQ(made.runs[0].count.base + made.runs[0].count.added, numbers.second) << name;
    }
}

// recipes of NVlabs/DoRA's scripts: one batch size a task, the same limits in training and evaluation
TEST_F(ConfigsTest, VlBartMixesItsTasksInTheRecipesBatches) {
    auto batches = [&](const std::string& name) {
        std::map<std::string, int64_t> out;
        const RunSettings settings = plan("vlbart/" + name + ".yaml").runs.at(0).settings;
        for (const auto& source : settings.train.data)
            out[source.name] = source.batch_size > 0 ? source.batch_size : settings.train.batch_size;
        return out;
    };
    using Sizes = std::map<std::string, int64_t>;
    EXPECT_EQ(batches("image_dora"),
              (Sizes{{"vqa", 300}, {"gqa", 500}, {"nlvr2", 100}, {"coco_caption", 250}}));
    EXPECT_EQ(batches("image_lora"),
              (Sizes{{"vqa", 500}, {"gqa", 833}, {"nlvr2", 166}, {"coco_caption", 416}}));
    EXPECT_EQ(batches("video_dora"), (Sizes{{"tvqa", 40}, {"how2qa", 40}, {"tvc", 40}, {"yc2c", 40}}));
    for (const char* name : {"image_dora", "video_dora"}) {
        const RunSettings settings = plan(cat("vlbart/", name, ".yaml")).runs.at(0).settings;
        EXPECT_EQ(settings.adapter.norm_grad, "full") << name;
        EXPECT_EQ(settings.adapter.alpha, 128) << name; // s = 1
        EXPECT_EQ(settings.train.max_length, 1024) << name;
        EXPECT_EQ(settings.train.max_grad_norm, 5) << name;
    }
    EXPECT_EQ(plan("vlbart/image_dora.yaml").runs.at(0).settings.train.epochs, 20);
    EXPECT_EQ(plan("vlbart/video_dora.yaml").runs.at(0).settings.train.epochs, 7);
}

TEST_F(ConfigsTest, SweepTheRanksOfThePapersTable) {
    RunPlan ranks = plan("sweeps/rank_llama_7b.yaml");
    ASSERT_EQ(ranks.runs.size(), 10u);
    EXPECT_EQ(ranks.runs[8].settings.adapter.method, "dora");
    EXPECT_EQ(ranks.runs[8].settings.adapter.rank, 32);
    EXPECT_DOUBLE_EQ(ranks.runs[8].settings.train.learning_rate, 1e-4);
    EXPECT_DOUBLE_EQ(ranks.runs[8].settings.adapter.alpha, 64);
    EXPECT_EQ(plan("llama3_commonsense.yaml").runs.size(), 10u);
    EXPECT_EQ(plan("sweeps/detach_llama_7b.yaml").runs.size(), 2u);
}

} // namespace
} // namespace dorabench
