// Adapters of every format that import knows, made here from one PEFT adapter, come back as that adapter.
#include "adapters/adapter_set.h"
#include "adapters/foreign.h"
#include "backends/ops/nf4_file.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/builtin.h"
#include "harness/cli/merge.h"
#include "harness/cli/model_requests.h"
#include "tests/support/paths.h"
#include "tests/support/tensors.h"
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <map>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::HasSubstr;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
    return text;
}
std::string stripped(const std::string& name) { return replaced(name, "base_model.model.", ""); }

struct Import : ::testing::Test {
    Import() { register_builtin(registries); }
    Globals globals() {
        Globals g;
        g.format = "json";
        g.progress = false;
        g.registries = &registries;
        return g;
    }
    std::string source(const std::string& method = "dora") {
        return test::shared_dir() + "/golden/peft/" + method;
    }
    // The golden adapter's tensors under other names; nothing for those that are left out.
    std::string write(const std::function<std::vector<NamedTensor>(const NamedTensor&)>& change,
                      const Json& config, const std::string& name = "adapter_model.safetensors",
                      const std::string& method = "dora") {
        const std::string folder = dir / "in";
        make_folder(folder);
        std::vector<NamedTensor> out;
        for (const NamedTensor& t : read_tensors(source(method) + "/adapter/adapter_model.safetensors"))
            for (NamedTensor& changed : change(t)) out.push_back({changed.name, changed.tensor.contiguous()});
        write_tensors(folder + "/" + name, out);
        if (!config.is_null()) write_file_atomic(folder + "/adapter_config.json", config.dump());
        return folder;
    }
    Json run(ImportOptions options) {
        ::testing::internal::CaptureStdout();
        try {
            EXPECT_EQ(import_command(options, globals()), 0);
        } catch (...) {
            ::testing::internal::GetCapturedStdout();
            throw;
        }
        return Json::parse(::testing::internal::GetCapturedStdout());
    }
    std::string refusal(const ImportOptions& options) {
        try {
            run(options);
        } catch (const Error& error) {
            EXPECT_FALSE(exists(options.to));
            return error.what();
        }
        return "accepted";
    }
    at::Tensor logits(const std::string& checkpoint, const std::string& adapter) {
        ModelOptions options;
        options.checkpoint = checkpoint;
        options.adapter = adapter;
        options.device = "cpu";
        Ids ids;
        for (int64_t i = 0; i < 24; ++i) ids.push_back(i);
        return load_model(options, globals()).backend->probe_logits(ids).clone();
    }
    void expect_same(const std::string& folder, const std::string& method = "dora") {
        std::map<std::string, at::Tensor> got;
        for (const NamedTensor& t : read_tensors(folder + "/adapter_model.safetensors"))
            got[t.name] = t.tensor;
        size_t seen = 0;
        for (const NamedTensor& t : read_tensors(source(method) + "/adapter/adapter_model.safetensors")) {
            EXPECT_TRUE(test::same_bits(got[t.name], t.tensor)) << t.name;
            ++seen;
        }
        EXPECT_EQ(seen, got.size());
        EXPECT_TRUE(test::same_bits(logits(source(method) + "/checkpoint", folder),
                                    logits(source(method) + "/checkpoint", source(method) + "/adapter")));
    }
    Json golden_config() { return Json::parse(read_file(source() + "/adapter/adapter_config.json")); }
    double alpha() { return golden_config()["lora_alpha"].get<double>(); }
    double rank() { return golden_config()["r"].get<double>(); }

    Registries registries;
    test::TempDir dir;
};

TEST_F(Import, PassesPeftFoldersThroughWithEitherSpellingOfTheMagnitude) {
    DORABENCH_NEEDS_SHARED();
    const std::string in = write(
        [](const NamedTensor& t) -> std::vector<NamedTensor> {
            const bool m = t.name.find("magnitude") != std::string::npos;
            return {{m ? t.name + ".weight" : t.name, t.tensor}};
        },
        golden_config());
    EXPECT_EQ(run({in, dir / "out", source() + "/checkpoint"})["format"], "peft");
    expect_same(dir / "out");
}

TEST_F(Import, ReadsNvlabsMagnitudes) {
    DORABENCH_NEEDS_SHARED();
    const Json config = {{"peft_type", "DORA"}, {"r", rank()}, {"lora_alpha", alpha()}};
    const std::string in = write(
        [](const NamedTensor& t) -> std::vector<NamedTensor> {
            if (t.name.find("magnitude") == std::string::npos) return {t};
            return {{replaced(t.name, "lora_magnitude_vector", "weight_m_wdecomp.weight"),
                     t.tensor.view({-1, 1})}};
        },
        config);
    EXPECT_EQ(run({in, dir / "out", source() + "/checkpoint"})["format"], "nvlabs");
    expect_same(dir / "out");
}

TEST_F(Import, ReadsMlxTransposedWithItsScale) {
    DORABENCH_NEEDS_SHARED();
    const std::string in = write(
        [](const NamedTensor& t) -> std::vector<NamedTensor> {
            std::string name = stripped(t.name);
            if (name.find("magnitude") != std::string::npos)
                return {{replaced(name, "lora_magnitude_vector", "m"), t.tensor}};
            name = replaced(replaced(name, "lora_A.weight", "lora_a"), "lora_B.weight", "lora_b");
            return {{name, t.tensor.t()}};
        },
        {{"fine_tune_type", "dora"},
         {"lora_parameters", {{"rank", rank()}, {"scale", alpha() / rank()}, {"dropout", 0.0}}}},
        "adapters.safetensors");
    EXPECT_EQ(run({in, dir / "out", source() + "/checkpoint"})["format"], "mlx");
    expect_same(dir / "out");
}

TEST_F(Import, ReadsKohyaNamesByTheBaseAndRefusesMagnitudesOfTheOtherAxis) {
    DORABENCH_NEEDS_SHARED();
    const double a = alpha();
    int64_t form = 0; // of the dora_scale: [out, 1], [out], [1, in]
    auto kohya = [&](const NamedTensor& t) -> std::vector<NamedTensor> {
        std::string name = replaced(stripped(t.name), ".weight", "");
        const size_t dot = name.rfind('.');
        const std::string module = "lora_te_" + replaced(name.substr(0, dot), ".", "_"),
                          part = name.substr(dot + 1);
        if (part == "lora_A")
            return {{module + ".lora_down.weight", t.tensor}, {module + ".alpha", at::full({}, a)}};
        if (part == "lora_B") return {{module + ".lora_up.weight", t.tensor}};
        if (form == 0) return {{module + ".dora_scale", t.tensor.view({-1, 1})}};
        if (form == 1) return {{module + ".dora_scale", t.tensor}};
        return {{module + ".dora_scale", at::ones({1, 32})}};
    };
    ImportOptions options{write(kohya, {}, "k.safetensors") + "/k.safetensors", dir / "out", ""};
    EXPECT_THAT(refusal(options), HasSubstr("--checkpoint"));
    options.checkpoint = source() + "/checkpoint";
    EXPECT_EQ(run(options)["format"], "kohya");
    expect_same(dir / "out");
    form = 1;
    write(kohya, {}, "k.safetensors");
    options.to = dir / "vector";
    EXPECT_THAT(refusal(options), HasSubstr("--dora-axis"));
    options.dora_axis = "out";
    run(options);
    expect_same(dir / "vector");
    form = 2;
    write(kohya, {}, "k.safetensors");
    options.to = dir / "input";
    options.dora_axis.clear();
    EXPECT_THAT(refusal(options), HasSubstr("another method"));
}

TEST_F(Import, PutsTorchtunesRowsInHfsOrder) {
    DORABENCH_NEEDS_SHARED();
    const std::string in = write(
        [](const NamedTensor& t) -> std::vector<NamedTensor> {
            std::string name =
                replaced(replaced(stripped(t.name), "model.layers", "layers"), "self_attn", "attn");
            name = replaced(replaced(replaced(name, "gate_proj", "w1"), "down_proj", "w2"), "up_proj", "w3");
            name = replaced(replaced(name, "o_proj", "output_proj"), "lora_A", "lora_a");
            name = replaced(replaced(name, "lora_B", "lora_b"), "lora_magnitude_vector", "magnitude");
            at::Tensor tensor = t.tensor;
            const bool q = name.find("q_proj") != std::string::npos,
                       k = name.find("k_proj") != std::string::npos;
            if ((q || k) && name.find("lora_a") == std::string::npos) { // halves of a head interleaved
                const int64_t heads = q ? 4 : 2, out = tensor.size(0);
                tensor =
                    tensor.reshape({heads, 2, out / heads / 2, -1}).transpose(1, 2).reshape(t.tensor.sizes());
            }
            return {{name, tensor}};
        },
        {{"r", rank()}, {"lora_alpha", alpha()}}, "adapter_model.safetensors");
    EXPECT_THAT(refusal({in, dir / "out", ""}), HasSubstr("--checkpoint"));
    EXPECT_EQ(run({in, dir / "out", source() + "/checkpoint"})["format"], "torchtune");
    expect_same(dir / "out");
}

TEST_F(Import, ReadsFsdpQloraBesideItsBase) {
    DORABENCH_NEEDS_SHARED();
    const std::string in = write(
        [](const NamedTensor& t) -> std::vector<NamedTensor> {
            std::string name =
                replaced(stripped(t.name), ".lora_magnitude_vector", ".magnitude_layer.magnitude");
            name = replaced(replaced(name, ".lora_A", ".dora_layer.lora_A"), ".lora_B", ".dora_layer.lora_B");
            std::vector<NamedTensor> out{{name, t.tensor}};
            if (name.find("lora_A") != std::string::npos) // the flattened 4-bit base
                out.push_back({replaced(name, "dora_layer.lora_A.weight", "base_layer.weight"),
                               at::zeros({8, 1}, at::kByte)});
            return out;
        },
        {}, "model_state_dict.safetensors");
    const Json said = run({in, dir / "out", source() + "/checkpoint"});
    EXPECT_EQ(said["format"], "fsdp_qlora");
    EXPECT_GT(said["left_out"].get<int64_t>(), 0);
    EXPECT_EQ(read_adapter_settings(dir / "out").alpha, rank()); // its update has scale 1
}

TEST_F(Import, RefusesCatidsMagnitudesWithTheReason) {
    DORABENCH_NEEDS_SHARED();
    const std::string in = write(
        [](const NamedTensor& t) -> std::vector<NamedTensor> {
            const std::string name = replaced(stripped(t.name), ".weight", "");
            return {{replaced(name, "lora_magnitude_vector", "m"), t.tensor}};
        },
        {});
    EXPECT_THAT(refusal({in, dir / "out", ""}), HasSubstr("per input"));
}

TEST_F(Import, NamesTheKeyThatACutOffAdapterLacks) {
    DORABENCH_NEEDS_SHARED();
    const std::string lost = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
    bool dropped = false;
    const std::string in = write(
        [&](const NamedTensor& t) -> std::vector<NamedTensor> {
            if (t.name != lost) return {t};
            dropped = true;
            return {};
        },
        golden_config());
    ASSERT_TRUE(dropped);
    EXPECT_THAT(refusal({in, dir / "out", ""}), HasSubstr(lost));
    const std::string file = in + "/adapter_model.safetensors", whole = read_file(file);
    write_file_atomic(file, whole.substr(0, whole.size() / 2));
    EXPECT_THAT(refusal({in, dir / "out", ""}), HasSubstr(file));
}

TEST_F(Import, ReadsPicklesAndNeverRunsThem) {
    const std::string folder = dir / "bin";
    make_folder(folder);
    fs::copy_file(test::golden("pickle/nvlabs.bin"), folder + "/adapter_model.bin");
    write_file_atomic(folder + "/adapter_config.json",
                      Json{{"peft_type", "DORA"}, {"r", 2}, {"lora_alpha", 4}}.dump());
    EXPECT_EQ(run({folder, dir / "out", ""})["format"], "nvlabs");
    const AdapterSettings settings = read_adapter_settings(dir / "out");
    EXPECT_EQ(settings.method, "dora");
    EXPECT_EQ(settings.rank, 2);
    EXPECT_EQ(settings.alpha, 4);
    EXPECT_THAT(refusal({test::golden("pickle/hostile_system.bin"), dir / "hostile", ""}),
                HasSubstr("system"));
}

TEST_F(Import, ExportsVeraAndDvoraAsExactLoraAndDora) {
    DORABENCH_NEEDS_SHARED();
    for (const std::string method : {"vera", "dvora"}) {
        BackendSettings settings;
        settings.type = "llama";
        settings.checkpoint = source(method) + "/checkpoint";
        export_as_lora(source(method) + "/adapter", registries.backends.get("llama").shapes(settings),
                       dir / method);
        EXPECT_EQ(read_adapter_settings(dir / method).method, method == "vera" ? "lora" : "dora");
        EXPECT_TRUE(test::close(logits(settings.checkpoint, dir / method),
                                logits(settings.checkpoint, source(method) + "/adapter"), 1e-5));
    }
}

TEST_F(Import, MergesIntoTheDequantisedWeightsOfAnNf4Base) {
    DORABENCH_NEEDS_SHARED();
    MergeOptions options{source() + "/checkpoint", source() + "/adapter", dir / "merged", "", "nf4"};
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(merge_command(options, globals()), 0);
    const Json said = Json::parse(::testing::internal::GetCapturedStdout());
    EXPECT_LT(said["max_delta_logit"].get<double>(), 1e-5 * said["max_logit"].get<double>());
}

TEST_F(Import, AnAdapterOnAPrequantisedCheckpointGivesTheLogitsOfQuantisationOnLoad) {
    DORABENCH_NEEDS_SHARED();
    const std::string folder = dir / "packed";
    make_folder(folder);
    std::vector<NamedTensor> tensors;
    for (const NamedTensor& t : read_tensors(source() + "/checkpoint/model.safetensors")) {
        const bool linear = t.name.find("_proj.weight") != std::string::npos;
        if (!linear) tensors.push_back(t);
        if (linear)
            for (NamedTensor& part : nf4_tensors(t.name, *nf4_quantise(t.tensor, true)))
                tensors.push_back(part);
    }
    write_tensors(folder + "/model.safetensors", tensors);
    Json config = Json::parse(read_file(source() + "/checkpoint/config.json"));
    config["quantization_config"] = {
        {"quant_method", "bitsandbytes"}, {"load_in_4bit", true}, {"bnb_4bit_quant_type", "nf4"}};
    write_file_atomic(folder + "/config.json", config.dump());
    ModelOptions options;
    options.checkpoint = source() + "/checkpoint";
    options.adapter = source() + "/adapter";
    options.device = "cpu";
    options.quantization = "nf4";
    const Ids ids{1, 2, 3, 4, 5, 6};
    const at::Tensor want = load_model(options, globals()).backend->probe_logits(ids).clone();
    options.checkpoint = folder;
    options.quantization = "none";
    EXPECT_TRUE(test::same_bits(load_model(options, globals()).backend->probe_logits(ids), want));
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(merge_command({folder, source() + "/adapter", dir / "dense", ""}, globals()), 0);
    ::testing::internal::GetCapturedStdout();
    EXPECT_FALSE(Json::parse(read_file(dir / "dense/config.json")).contains("quantization_config"));
    options.checkpoint = dir / "dense";
    options.adapter.clear();
    EXPECT_TRUE(test::close(load_model(options, globals()).backend->probe_logits(ids), want, 1e-5));
}

TEST_F(Import, ReadsVlbartsWholeStateWithScaleOne) {
    DORABENCH_NEEDS_SHARED();
    const std::string in = write(
        [](const NamedTensor& t) -> std::vector<NamedTensor> {
            const std::string name = stripped(t.name);
            if (name.find("lora_A") != std::string::npos)
                return {{replaced(name, "lora_A.weight", "lora_A"), t.tensor},
                        {replaced(name, "lora_A.weight", "weight_v"), at::ones({4, 4})},
                        {replaced(name, "lora_A.weight", "bias"), at::ones({4})}};
            if (name.find("lora_B") != std::string::npos)
                return {{replaced(name, "lora_B.weight", "lora_B"), t.tensor}};
            return {{replaced(name, "lora_magnitude_vector", "weight_m"), t.tensor.view({-1, 1})}};
        },
        {}, "BEST.safetensors");
    const Json said = run({in + "/BEST.safetensors", dir / "out", ""});
    EXPECT_EQ(said["format"], "vl-bart");
    EXPECT_GT(said["left_out"].get<int64_t>(), 0); // the frozen copies of W
    const AdapterSettings settings = read_adapter_settings(dir / "out");
    EXPECT_EQ(settings.method, "dora");
    EXPECT_EQ(settings.alpha, rank());
    EXPECT_FALSE(settings.train_also.empty()); // biases
    std::map<std::string, at::Tensor> got;
    for (const NamedTensor& t : read_tensors(dir / "out/adapter_model.safetensors")) got[t.name] = t.tensor;
    for (const NamedTensor& t : read_tensors(source() + "/adapter/adapter_model.safetensors"))
        EXPECT_TRUE(test::same_bits(got[t.name], t.tensor)) << t.name;
}

TEST_F(Import, ResolvesWhatPeftResolvesOnTheModel) {
    DORABENCH_NEEDS_SHARED();
    const auto first_layer = [](const NamedTensor& t) -> std::vector<NamedTensor> {
        if (t.name.find("layers.0.") == std::string::npos) return {};
        return {t};
    };
    Json config = golden_config();
    config["layers_to_transform"] = Json::array({0});
    config["layers_pattern"] = "layers";
    const std::string in = write(first_layer, config);
    run({in, dir / "out", source() + "/checkpoint"}); // attaches and loads: every key both ways
    for (const std::string& module : read_adapter_settings(dir / "out").target_modules)
        EXPECT_THAT(module, HasSubstr("layers.0."));
    config = golden_config();
    config["exclude_modules"] = ".*layers\\.1\\..*";
    write(first_layer, config);
    run({in, dir / "excluded", source() + "/checkpoint"});
    for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{
             {"init_lora_weights", "pissa"}, {"use_qalora", true}, {"some_future_option", 3}}) {
        config = golden_config();
        config[key] = value;
        const std::string whole =
            write([](const NamedTensor& t) -> std::vector<NamedTensor> { return {t}; }, config);
        EXPECT_THAT(refusal({whole, dir / "refused", ""}), HasSubstr(key));
    }
}

// What is cut off or has a bit turned is imported whole or refused with the file's name; nothing else
// happens.
TEST_F(Import, NeverCrashesOnDamagedFiles) {
    const std::string at = "base_model.model.model.layers.0.self_attn.q_proj.";
    const at::Tensor a = at::arange(16, at::kFloat).view({2, 8}), b = at::arange(12, at::kFloat).view({6, 2}),
                     m = at::arange(1, 7, at::kFloat);
    struct Fixture {
        std::string file;
        Json config;
    };
    make_folder(dir / "made");
    write_tensors(dir / "made/peft.safetensors",
                  {{at + "lora_A.weight", a}, {at + "lora_B.weight", b}, {at + "lora_magnitude_vector", m}});
    write_tensors(dir / "made/kohya.safetensors", {{"unet.a.lora_down.weight", a},
                                                   {"unet.a.lora_up.weight", b},
                                                   {"unet.a.alpha", at::full({}, 4.0)},
                                                   {"unet.a.dora_scale", m.view({6, 1})}});
    write_tensors(
        dir / "made/mlx.safetensors",
        {{"model.a.lora_a", a.t().contiguous()}, {"model.a.lora_b", b.t().contiguous()}, {"model.a.m", m}});
    const Json peft = {{"peft_type", "LORA"},
                       {"r", 2},
                       {"lora_alpha", 4},
                       {"use_dora", true},
                       {"target_modules", Json::array({"q_proj"})}};
    const Json nvlabs = {{"peft_type", "DORA"}, {"r", 2}, {"lora_alpha", 4}};
    const std::vector<Fixture> fixtures = {
        {dir / "made/peft.safetensors", peft},
        {dir / "made/kohya.safetensors", {}},
        {dir / "made/mlx.safetensors", {{"lora_parameters", {{"rank", 2}, {"scale", 2.0}}}}},
        {test::golden("pickle/nvlabs.bin"), nvlabs},
        {test::golden("pickle/legacy.bin"), nvlabs}};
    const std::string folder = dir / "damaged";
    make_folder(folder);
    size_t refused = 0, taken = 0;
    auto attempt = [&](const Fixture& fixture, const std::string& bytes, const std::string& what) {
        const std::string file = folder + "/adapter_model" + fs::path(fixture.file).extension().string();
        write_file_atomic(file, bytes);
        try {
            run({file, dir / "out", "", "", 4});
            ++taken;
        } catch (const Error& error) { // names the file: "damaged" is its folder
            ++refused;
            EXPECT_THAT(error.what(), HasSubstr("damaged")) << fixture.file << " " << what;
        } catch (const std::exception& error) {
            ADD_FAILURE() << fixture.file << " " << what << ": " << error.what();
        }
        fs::remove_all(dir / "out");
        fs::remove(file);
    };
    for (const Fixture& fixture : fixtures) {
        fs::remove(folder + "/adapter_config.json");
        if (!fixture.config.is_null())
            write_file_atomic(folder + "/adapter_config.json", fixture.config.dump());
        const std::string whole = read_file(fixture.file);
        attempt(fixture, whole, "whole");
        for (size_t i = 0; i < 40; ++i) {
            const size_t keep = i < 20 ? i : whole.size() * i / 40;
            attempt(fixture, whole.substr(0, keep), "cut to " + std::to_string(keep));
        }
        for (size_t i = 0; i < 160; ++i) {
            std::string turned = whole;
            const size_t byte = i * whole.size() / 160; // all over the file, each bit in turn
            turned[byte] = char(turned[byte] ^ (1 << (i % 8)));
            attempt(fixture, turned, "bit " + std::to_string(i % 8) + " of byte " + std::to_string(byte));
        }
    }
    EXPECT_GE(taken, 4u);
    EXPECT_GT(refused, 150u);
}

struct Peers : Import { // label: peers
    // The logits of ids 0 … 23 that transformers computes, with the adapter by HF PEFT where one is named.
    at::Tensor theirs(const std::string& checkpoint, const std::string& adapter = "") {
        const std::string script = dir / "load.py", out = dir / "logits.safetensors";
        write_file_atomic(script,
                          "import sys, torch\n"
                          "from transformers import AutoModelForCausalLM\n"
                          "from safetensors.torch import save_file\n"
                          "model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)\n"
                          "if sys.argv[2]:\n"
                          "    from peft import PeftModel\n"
                          "    model = PeftModel.from_pretrained(model, sys.argv[2])\n"
                          "# bitsandbytes multiplies in bfloat16 where no gradient is asked for\n"
                          "model.train(hasattr(model.config, 'quantization_config'))\n"
                          "with torch.set_grad_enabled(model.training):\n"
                          "    logits = model(torch.arange(24)[None]).logits[0].detach().contiguous()\n"
                          "save_file({'logits': logits}, sys.argv[3])\n");
        const std::string command = "OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 '" + python() + "' '" + script +
                                    "' '" + checkpoint + "' '" + adapter + "' '" + out + "' > '" +
                                    (dir / "log") + "' 2>&1";
        fs::remove(out);
        if (std::system(command.c_str()) != 0) {
            ADD_FAILURE() << checkpoint << " " << adapter << ": " << read_file(dir / "log");
            return {};
        }
        return read_tensors(out)[0].tensor.clone();
    }
    static std::string python() { return test::source_dir() + "/.venv-peers/bin/python"; }
    static constexpr const char* kWithout =
        "no .venv-peers with transformers and peft: scripts/setup --peers";
};

TEST_F(Peers, HfPeftLoadsOurAdaptersWithEqualLogits) {
    DORABENCH_NEEDS_SHARED();
    if (!exists(python())) GTEST_SKIP() << kWithout;
    for (const std::string method : {"lora", "dora", "rslora", "dora_patterns", "vera", "dvora"}) {
        const std::string base = source(method) + "/checkpoint", ours = dir / method;
        BackendSettings settings;
        settings.type = "llama", settings.checkpoint = base, settings.device = "cpu";
        if (method == "vera" || method == "dvora") {
            export_as_lora(source(method) + "/adapter", registries.backends.get("llama").shapes(settings),
                           ours);
        } else {
            const auto backend = registries.backends.get("llama").load(settings, 0);
            const auto set = attach_adapter(*backend, read_adapter_settings(source(method) + "/adapter"), 0);
            set->load(source(method) + "/adapter");
            set->save(ours, base);
        }
        EXPECT_TRUE(test::close(logits(base, ours), theirs(base, ours), 1e-5)) << method;
    }
}

TEST_F(Peers, TransformersLoadsOurMergedCheckpointsWithEqualLogits) {
    DORABENCH_NEEDS_SHARED();
    if (!exists(python())) GTEST_SKIP() << kWithout;
    for (const std::string method : {"lora", "dora", "dvora"}) {
        ::testing::internal::CaptureStdout();
        merge_command({source(method) + "/checkpoint", source(method) + "/adapter", dir / method, ""},
                      globals());
        ::testing::internal::GetCapturedStdout();
        const at::Tensor merged = theirs(dir / method);
        EXPECT_TRUE(test::close(logits(dir / method, ""), merged, 1e-5)) << method;
        EXPECT_TRUE(
            test::close(logits(source(method) + "/checkpoint", source(method) + "/adapter"), merged, 1e-5))
            << method;
    }
}

TEST_F(Peers, BitsandbytesComputesTheSameLogitsFromOurNf4Checkpoint) {
    const std::string has = python() + " -c 'import bitsandbytes, transformers' > /dev/null 2>&1";
    if (!exists(python()) || std::system(has.c_str()) != 0) GTEST_SKIP() << kWithout << ", bitsandbytes";
    // inputs of a multiple of 64: of others bitsandbytes' own CPU form is wrong (golden/nf4's README)
    const Json config = {{"model_type", "llama"},       {"architectures", {"LlamaForCausalLM"}},
                         {"hidden_size", 64},           {"intermediate_size", 128},
                         {"num_hidden_layers", 1},      {"num_attention_heads", 4},
                         {"num_key_value_heads", 4},    {"vocab_size", 32},
                         {"rms_norm_eps", 1e-6},        {"max_position_embeddings", 64},
                         {"tie_word_embeddings", false}};
    make_folder(dir / "base");
    write_file_atomic(dir / "base/config.json", config.dump());
    BackendSettings settings;
    settings.type = "llama", settings.checkpoint = dir / "base";
    at::Generator from = test::generator(8);
    std::vector<NamedTensor> tensors;
    for (const ParameterShape& p : registries.backends.get("llama").shapes(settings).parameters)
        tensors.push_back({p.name, test::randn(p.shape, from, at::kFloat) / 4});
    write_tensors(dir / "base/model.safetensors", tensors);
    ::testing::internal::CaptureStdout();
    merge_as({dir / "base", "", dir / "nf4"}, {"nf4"}, globals());
    ::testing::internal::GetCapturedStdout();
    EXPECT_TRUE(test::close(logits(dir / "nf4", ""), theirs(dir / "nf4"), 1e-5));
}

} // namespace
} // namespace dorabench
