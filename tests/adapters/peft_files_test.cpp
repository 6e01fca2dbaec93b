#include "adapters/adapter_set.h"
#include "adapters/vera.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/adapters/tiny_backend.h"
#include "tests/support/paths.h"
#include <map>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using Json = nlohmann::json;

AdapterSettings settings_of(const std::string& method) {
    AdapterSettings s;
    s.method = method;
    s.rank = 3;
    s.alpha = 6;
    s.has_alpha = true;
    s.target_modules = {"v_proj", "q_proj"};
    return s;
}

// A folder written by the tiny backbone's adapter, and a change to its config or tensors.
struct Folder {
    explicit Folder(const AdapterSettings& settings) : set(attach_adapter(backend, settings, 5)) {
        test::disturb(*set);
        set->save(dir.path(), "meta-llama/Llama");
    }
    Json config() const { return Json::parse(read_file(dir / "adapter_config.json")); }
    void change(const std::string& key, const Json& value) const {
        Json json = config();
        json[key] = value;
        write_file_atomic(dir / "adapter_config.json", json.dump());
    }
    void rewrite(const std::function<void(std::vector<NamedTensor>&)>& f) const {
        std::vector<NamedTensor> tensors;
        for (const NamedTensor& named : read_tensors(dir / "adapter_model.safetensors"))
            tensors.push_back({named.name, named.tensor.clone()});
        f(tensors);
        write_tensors(dir / "adapter_model.safetensors", tensors);
    }
    std::string load_error() const {
        try {
            set->load(dir.path());
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::data);
            return error.what();
        }
        return "no error";
    }
    std::string read_error() const {
        try {
            read_adapter_settings(dir.path());
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::data);
            return error.what();
        }
        return "no error";
    }
    test::TinyBackend backend;
    test::TempDir dir;
    std::unique_ptr<AdapterSet> set;
};

TEST(PeftFiles, AreWrittenAsPeftWritesThem) {
    AdapterSettings settings = settings_of("dora");
    settings.dropout = 0.05;
    settings.rank_pattern = {{"v_proj", 2}};
    const Folder folder(settings);
    const Json config = folder.config();
    EXPECT_EQ(config["peft_type"], "LORA");
    EXPECT_EQ(config["use_dora"], true);
    EXPECT_EQ(config["r"], 3);
    EXPECT_EQ(config["lora_alpha"].dump(), "6");
    EXPECT_EQ(config["rank_pattern"].dump(), R"({"v_proj":2})");
    EXPECT_EQ(config["target_modules"].dump(), R"(["q_proj","v_proj"])");
    EXPECT_EQ(config["base_model_name_or_path"], "meta-llama/Llama");
    EXPECT_FALSE(config.contains("dora_bench"));
    const std::string text = read_file(folder.dir / "adapter_config.json");
    EXPECT_EQ(text.substr(0, 4), "{\n  ");
    EXPECT_LT(text.find("\"alpha_pattern\""), text.find("\"use_rslora\""));
    std::map<std::string, at::Tensor> tensors;
    for (const NamedTensor& named : read_tensors(folder.dir / "adapter_model.safetensors"))
        tensors[named.name] = named.tensor;
    EXPECT_EQ(tensors.size(), 12u);
    const std::string at = "base_model.model.model.layers.1.self_attn.v_proj.";
    EXPECT_EQ(tensors.at(at + "lora_A.weight").sizes(), at::IntArrayRef({2, 8}));
    EXPECT_EQ(tensors.at(at + "lora_B.weight").sizes(), at::IntArrayRef({6, 2}));
    EXPECT_EQ(tensors.at(at + "lora_magnitude_vector").sizes(), at::IntArrayRef({6}));
}

TEST(PeftFiles, AcceptBothSpellingsOfTheMagnitude) {
    const Folder folder(settings_of("dora"));
    const at::Tensor want = folder.set->trainable()[2].tensor.detach().clone();
    folder.rewrite([](std::vector<NamedTensor>& tensors) {
        for (NamedTensor& named : tensors)
            if (named.name.ends_with("magnitude_vector")) named.name += ".weight";
    });
    test::disturb(*folder.set);
    folder.set->load(folder.dir.path());
    EXPECT_TRUE(test::same_bits(folder.set->trainable()[2].tensor.detach(), want));
}

TEST(PeftFiles, MustMatchBothWays) {
    const Folder folder(settings_of("dora"));
    folder.rewrite([](std::vector<NamedTensor>& tensors) {
        std::erase_if(tensors, [](const NamedTensor& named) {
            return named.name.ends_with("layers.0.self_attn.q_proj.lora_magnitude_vector");
        });
        tensors.push_back({"base_model.model.model.layers.9.q_proj.lora_A.weight", at::zeros({3, 8})});
    });
    const at::Tensor before = folder.set->trainable()[0].tensor.detach().clone();
    test::disturb(*folder.set);
    const at::Tensor disturbed = folder.set->trainable()[0].tensor.detach().clone();
    const std::string message = folder.load_error();
    EXPECT_NE(message.find("missing: base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"),
              std::string::npos)
        << message;
    EXPECT_NE(message.find("unknown: base_model.model.model.layers.9.q_proj.lora_A.weight"),
              std::string::npos)
        << message;
    EXPECT_TRUE(test::same_bits(folder.set->trainable()[0].tensor.detach(), disturbed)); // nothing was taken
    EXPECT_FALSE(test::same_bits(before, disturbed));
}

TEST(PeftFiles, RefuseOtherShapesAndNumbersThatAreNone) {
    Folder folder(settings_of("lora"));
    folder.rewrite([](std::vector<NamedTensor>& tensors) {
        for (NamedTensor& named : tensors)
            if (named.name.ends_with("q_proj.lora_A.weight")) named.tensor = at::zeros({4, 8});
    });
    EXPECT_NE(folder.load_error().find("must be [3, 8] as the settings have it, got [4, 8]"),
              std::string::npos);
    Folder other(settings_of("lora"));
    other.rewrite([](std::vector<NamedTensor>& tensors) { tensors[0].tensor.fill_(std::nan("")); });
    EXPECT_NE(other.load_error().find("holds NaN"), std::string::npos);
}

TEST(PeftFiles, NeverRunAPickle) {
    const Folder folder(settings_of("lora"));
    std::filesystem::rename(folder.dir / "adapter_model.safetensors", folder.dir / "adapter_model.bin");
    EXPECT_NE(folder.load_error().find("a pickle, which is never executed"), std::string::npos);
}

TEST(AdapterConfig, RefusesByNameWhatChangesTheMathematics) {
    for (const auto& [key, value] :
         std::vector<std::pair<std::string, Json>>{{"bias", "all"},
                                                   {"lora_bias", true},
                                                   {"fan_in_fan_out", true},
                                                   {"use_qalora", true},
                                                   {"layers_to_transform", Json::array({0, 1})},
                                                   {"layer_replication", Json::array({Json::array({0, 2})})},
                                                   {"megatron_config", {{"a", 1}}},
                                                   {"trainable_token_indices", Json::array({5})},
                                                   {"target_parameters", Json::array({"x"})},
                                                   {"alora_invocation_tokens", Json::array({1})},
                                                   {"use_bdlora", {{"x", 1}}},
                                                   {"arrow_config", {{"x", 1}}},
                                                   {"kasa_config", {{"x", 1}}},
                                                   {"monteclora_config", {{"x", 1}}},
                                                   {"velora_config", {{"x", 1}}},
                                                   {"init_lora_weights", "pissa"},
                                                   {"init_lora_weights", "olora"},
                                                   {"init_lora_weights", "something_new"},
                                                   {"some_future_option", 3},
                                                   {"peft_type", "IA3"},
                                                   {"exclude_modules", ".*x"}}) {
        const Folder folder(settings_of("lora"));
        folder.change(key, value);
        EXPECT_NE(folder.read_error().find(key), std::string::npos) << key << ": " << folder.read_error();
    }
}

TEST(AdapterConfig, RefusesWrongTypesAndBrokenFiles) {
    const Folder folder(settings_of("vera"));
    folder.change("r", "eight");
    EXPECT_NE(folder.read_error().find("r has an unexpected value: \"eight\""), std::string::npos);
    folder.change("r", 3);
    folder.change("target_modules", Json::array({1, 2}));
    EXPECT_NE(folder.read_error().find("target_modules has an unexpected value"), std::string::npos);
    folder.change("target_modules", nullptr);
    EXPECT_NE(folder.read_error().find("target_modules is missing"), std::string::npos);
    write_file_atomic(folder.dir / "adapter_config.json", "{\"r\": ");
    EXPECT_NE(folder.read_error().find("not JSON"), std::string::npos);
}

TEST(AdapterConfig, KeepsTheOrderOfPatternsWhereItMatters) {
    AdapterSettings settings = settings_of("lora");
    settings.rank_pattern = {{"q_proj", 2}, {"layers.1.self_attn.q_proj", 6}}; // sorted, the second would win
    const Folder folder(settings);
    test::TinyBackend fresh;
    const auto set = attach_adapter(fresh, read_adapter_settings(folder.dir.path()), 1);
    set->load(folder.dir.path());
    EXPECT_TRUE(test::same_bits(fresh.probe_logits({1, 2}),
                                const_cast<test::TinyBackend&>(folder.backend).probe_logits({1, 2})));
}

TEST(AdapterConfig, CarriesModulesToSaveAndExpressions) {
    const Folder folder(settings_of("lora"));
    folder.change("target_modules", ".*(q|v)_proj");
    folder.change("modules_to_save", Json::array({"norm"}));
    folder.rewrite([](std::vector<NamedTensor>& tensors) {
        tensors.push_back({"base_model.model.model.norm.weight", at::full({8}, 2.0)});
    });
    const AdapterSettings settings = read_adapter_settings(folder.dir.path());
    EXPECT_EQ(settings.target_regex, ".*(q|v)_proj");
    test::TinyBackend fresh;
    const auto set = attach_adapter(fresh, settings, 1);
    set->load(folder.dir.path());
    EXPECT_EQ(set->trainable().back().name, "model.norm.weight");
    EXPECT_EQ(set->trainable().back().tensor[0].item<float>(), 2);
}

TEST(Attach, StartsFromAFolderWithItsProjections) {
    AdapterSettings settings = settings_of("vera");
    settings.projection_prng_key = 7;
    settings.save_projection = false;
    settings.d_initial = 0.3;
    const Folder folder(settings);
    AdapterSettings start = settings_of("vera");
    start.init = folder.dir.path();
    test::TinyBackend fresh;
    const auto set = attach_adapter(fresh, start, 9);
    EXPECT_EQ(set->settings().projection_prng_key, 7);
    EXPECT_TRUE(test::same_bits(fresh.probe_logits({1, 2}),
                                const_cast<test::TinyBackend&>(folder.backend).probe_logits({1, 2})));
    AdapterSettings other = settings_of("lora");
    other.init = folder.dir.path();
    test::TinyBackend third;
    EXPECT_THROW(attach_adapter(third, other, 9), Error);
    EXPECT_FALSE(third.sites()[0]->layer()); // nothing stays behind
}

// golden/peft: what HF PEFT saved, on the weights that it was saved for.
TEST(PeftGolden, AdaptersLoadWithEveryKeyAndMergeToPeftsWeights) {
    DORABENCH_NEEDS_SHARED();
    size_t seen = 0;
    for (const auto& entry : std::filesystem::directory_iterator(test::shared_dir() + "/golden/peft")) {
        const std::string folder = entry.path().string();
        if (!exists(folder + "/training.json")) continue;
        ++seen;
        test::CheckpointBackend backend(folder + "/checkpoint/model.safetensors");
        const AdapterSettings settings = read_adapter_settings(folder + "/adapter");
        const auto set = attach_adapter(backend, settings, 0);
        std::map<std::string, at::Tensor> expected, merged;
        for (const NamedTensor& named : read_tensors(folder + "/expected.safetensors"))
            expected[named.name] = named.tensor;
        for (const TrainableTensor& part : set->trainable())
            if (const auto init = expected.find("init." + part.name); init != expected.end())
                EXPECT_TRUE(test::close(part.tensor.detach(), init->second, 1e-6)) << part.name;
        set->load(folder + "/adapter");
        const Json facts = Json::parse(read_file(folder + "/training.json"));
        EXPECT_EQ(count_adapter(backend.shapes(), settings).trainable, facts["trainable_parameters"])
            << folder;
        set->for_each_merged(
            [&](const std::string& name, const at::Tensor& weight) { merged[name] = weight; });
        size_t compared = 0;
        for (const NamedTensor& named : read_tensors(folder + "/merged.safetensors")) {
            const std::string name = named.name.ends_with(".weight") ? named.name : named.name + ".weight";
            ASSERT_TRUE(merged.count(name)) << name;
            EXPECT_LE(test::largest(merged[name] - named.tensor), 1e-6) << folder << " " << name;
            ++compared;
        }
        EXPECT_EQ(compared, merged.size());
        test::TempDir copy;
        set->save(copy.path(), "");
        std::map<std::string, at::Tensor> again;
        for (const NamedTensor& named : read_tensors(copy / "adapter_model.safetensors"))
            again[named.name] = named.tensor;
        const auto saved = read_tensors(folder + "/adapter/adapter_model.safetensors");
        EXPECT_EQ(again.size(), saved.size());
        for (const NamedTensor& named : saved)
            EXPECT_TRUE(test::same_bits(again[named.name], named.tensor)) << named.name;
        Json ours = Json::parse(read_file(copy / "adapter_config.json")),
             theirs = Json::parse(read_file(folder + "/adapter/adapter_config.json"));
        if (settings.method != "dvora") EXPECT_EQ(ours, theirs) << folder;
    }
    EXPECT_EQ(seen, 7u);
}

TEST(PeftGolden, ProjectionsAreDrawnToTheBit) {
    DORABENCH_NEEDS_SHARED();
    for (const std::string name : {"vera", "vera_prng"}) {
        const std::string folder = test::shared_dir() + "/golden/peft/" + name;
        const AdapterSettings settings = read_adapter_settings(folder + "/adapter");
        std::map<std::string, at::Tensor> expected;
        for (const NamedTensor& named : read_tensors(folder + "/expected.safetensors"))
            expected[named.name] = named.tensor;
        const at::Tensor a = expected.at("projection.vera_A"), b = expected.at("projection.vera_B");
        const Projections drawn =
            draw_projections(settings.rank, a.size(1), b.size(0), settings.projection_prng_key);
        EXPECT_TRUE(test::same_bits(drawn.A, a)) << name;
        EXPECT_TRUE(test::same_bits(drawn.B, b)) << name;
    }
}

} // namespace
} // namespace dorabench
