// Commands about checkpoints, adapters and models, and the tools.
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/cli/command_line.h"
#include "harness/cli/completion.h"
#include <iostream>

namespace dorabench {
namespace {

CLI::IsMember dtype() { return CLI::IsMember({"float32", "bfloat16", "float16"}); }

int64_t token_id(const std::string& flag, const std::string& text) {
    char* end = nullptr;
    errno = 0;
    long long id = std::strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end || errno || id < 0)
        throw Error::config(flag, ": expected a token id or none, got \"", text, "\"");
    return id;
}

} // namespace

void CommandLine::add_checkpoints() {
    CLI::App* sub =
        command("analyze", "Weight decomposition: change of magnitude against change of direction",
                "analyze 0123abcd\nanalyze lora dora ft --results results/quickstart --plots "
                "figures\nanalyze --base "
                "base.safetensors --tuned tuned.safetensors --format json",
                [this] { return analyze_command(o_.analyze, o_.globals); });
    sub->add_option("run", o_.analyze.runs, "runs of the store (id, name or method), or their folders")
        ->type_name("RUN...");
    add_given<int64_t>(sub, "--spectrum", o_.analyze.spectrum,
                       "singular values of each update to keep (0: none)", 0);
    sub->add_option("--module", o_.analyze.module,
                    "weights whose module or name fits: '[qv]_proj', '*layers.0.*'")
        ->type_name("PATTERN");
    sub->add_option("--plots", o_.analyze.plots, "write the figures there as SVG, PNG, PDF and Vega-Lite")
        ->type_name("DIR");
    add_results_option(sub, o_.analyze.results);
    sub->add_option("--base", o_.analyze.base, "checkpoint folder or safetensors file")->type_name("PATH");
    sub->add_option("--tuned", o_.analyze.tuned, "checkpoint folder or safetensors file")->type_name("PATH");
    sub =
        command("export", "What a run trained: its HF PEFT folder, or a HF checkpoint after full fine-tuning",
                "export 0123abcd --to adapter\nexport quickstart_base --results results/quickstart --to base",
                [this] { return export_command(o_.export_, o_.globals); });
    sub->add_option("run", o_.export_.run, "a run's id or name")->required()->type_name("RUN");
    sub->add_option("--to", o_.export_.to, "folder to write")->required()->type_name("DIR");
    sub->add_option(
           "--as", o_.export_.as,
           "lora: VeRA and DVoRA as exact LoRA and DoRA adapters; tensorboard: event files; lm-eval: "
           "results and samples in its shape (both: RUN may be all)")
        ->check(CLI::IsMember({"trained", "lora", "tensorboard", "lm-eval"}))
        ->capture_default_str();
    add_results_option(sub, o_.export_.results);
    sub = command("import", "Another project's adapter as a HF PEFT folder (the format is told by its keys)",
                  "import adapter_model.bin --to adapter\nimport mlx_adapters --to adapter --checkpoint "
                  "/models/llama-7b",
                  [this] { return import_command(o_.import_, o_.globals); });
    sub->add_option("source", o_.import_.source, "adapter file or folder")->required()->type_name("FILE|DIR");
    sub->add_option("--to", o_.import_.to, "folder to write")->required()->type_name("DIR");
    sub->add_option("--checkpoint", o_.import_.checkpoint, "its base: every key is checked against it")
        ->type_name("DIR");
    sub->add_option("--alpha", o_.import_.alpha, "where the file does not tell (scale * rank)")
        ->check(CLI::PositiveNumber)
        ->type_name("X");
    sub->add_option("--dora-axis", o_.import_.dora_axis, "what a dora_scale on a square layer runs over")
        ->check(CLI::IsMember({"out", "in"}));
    sub = command("merge", "Write a HF checkpoint with the adapter merged in, or in 4 bits",
                  "merge --checkpoint /models/llama-7b --adapter adapter --to merged --dtype float32\n"
                  "merge --checkpoint /models/llama-7b --to llama-7b-nf4 --as nf4",
                  [this] { return merge_as(o_.merge, o_.merge_form, o_.globals); });
    sub->add_option("--checkpoint", o_.merge.checkpoint, "base checkpoint folder or hub id")
        ->required()
        ->type_name("DIR");
    sub->add_option("--adapter", o_.merge.adapter,
                    "adapter folder in HF PEFT's format; of a Diffusers pipeline: what import wrote")
        ->type_name("DIR");
    sub->add_option("--as", o_.merge_form.as,
                    "nf4: linear weights as bitsandbytes' 4-bit checkpoints have them")
        ->check(CLI::IsMember({"dense", "nf4"}))
        ->capture_default_str();
    sub->add_flag("!--no-double-quant", o_.merge_form.double_quant, "nf4: scales in float32");
    sub->add_option("--to", o_.merge.to, "folder to write")->required()->type_name("DIR");
    sub->add_option("--dtype", o_.merge.dtype, "float32, bfloat16 or float16 (the base's)")->check(dtype());
    sub->add_option(
           "--quantization", o_.merge.quantization,
           "nf4: the adapter was trained on the base in NF4; its dequantised weights are merged into")
        ->check(CLI::IsMember({"none", "nf4"}))
        ->capture_default_str();
}

CLI::App* CommandLine::add_model(const std::string& name, const std::string& help,
                                 const std::string& examples, Action action) {
    CLI::App* sub = command(name, help, examples, std::move(action));
    sub->add_option("--checkpoint", o_.model.checkpoint, "checkpoint folder or hub id")
        ->required()
        ->type_name("DIR");
    sub->add_option("--adapter", o_.model.adapter, "adapter folder in HF PEFT's format")->type_name("DIR");
    sub->add_option("--input", o_.model.input, "requests, one JSON object a line")
        ->required()
        ->type_name("FILE");
    sub->add_option("--dtype", o_.model.dtype, "float32, bfloat16 or float16")
        ->check(dtype())
        ->capture_default_str();
    sub->add_option("--device", o_.model.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
    sub->add_option("--quantization", o_.model.quantization, "nf4: the base's linear weights in 4 bits")
        ->check(CLI::IsMember({"none", "nf4"}))
        ->capture_default_str();
    sub->add_option("--tokenizer", o_.model.tokenizer, "where it is not in the checkpoint's folder")
        ->type_name("PATH");
    sub->add_option("--vision-tower", o_.model.vision_tower,
                    "LLaVA, original layout: the vision tower's folder")
        ->type_name("DIR");
    sub->add_option("--image-processing", o_.model.image_processing, "LLaVA: pad or crop")
        ->check(CLI::IsMember({"pad", "crop"}))
        ->capture_default_str();
    sub->add_option("--batch-size", o_.model.batch_size, "requests at a time (0: as memory allows)")
        ->check(CLI::Range(0, 1 << 20))
        ->type_name("N");
    return sub;
}

void CommandLine::add_model_commands() {
    add_model("score", "Log-likelihoods of continuations",
              "score --checkpoint /models/llama-7b --input requests.jsonl > scores.jsonl",
              [this] { return score_command(o_.model, o_.globals); });
    CLI::App* sub = add_model("generate", "Texts for prompts",
                              "generate --checkpoint /models/llama-7b --adapter adapter --input "
                              "prompts.jsonl --num-beams 4 --max-new-tokens 32",
                              [this] { return generate(); });
    generate_ = sub;
    GenerateOptions& g = o_.model.generate;
    add_given<int64_t>(sub, "--num-beams", g.num_beams, "beams (1: greedy)", 1);
    add_given<int64_t>(sub, "--max-new-tokens", g.max_new_tokens, "at most this many new tokens", 1);
    add_given<int64_t>(sub, "--min-new-tokens", g.min_new_tokens, "no end token before this many", 0);
    sub->add_option("--length-penalty", g.length_penalty, "exponent of the length in a beam's score");
    sub->add_option("--early-stopping", g.early_stopping, "true, false or never")
        ->check(CLI::IsMember({"true", "false", "never"}));
    sub->add_option("--eos-token-id", o_.eos, "end tokens, or none")->type_name("N[,M]|none");
    add_given<double>(sub, "--repetition-penalty", g.repetition_penalty, "above 1: repetition is less likely",
                      1e-6);
    add_given<int64_t>(sub, "--no-repeat-ngram-size", g.no_repeat_ngram_size,
                       "n-grams of this size come once", 0);
    add_given<double>(sub, "--temperature", g.temperature, "above 0 switches sampling on", 0);
    sub->add_option("--top-p", g.top_p, "sampling: smallest set of this probability")
        ->check(CLI::Range(0.0, 1.0));
    add_given<int64_t>(sub, "--top-k", g.top_k, "sampling: the k likeliest (0: all)", 0);
    add_given<uint64_t>(sub, "--seed", g.seed, "of sampling", 0);
    sub->add_option("--forced-eos-token-id", o_.forced_eos, "last token at the length limit, or none")
        ->type_name("N|none");
    sub->add_option("--forced-bos-token-id", o_.forced_bos, "first new token, or none")->type_name("N|none");
}

int CommandLine::generate() {
    GenerateOptions& g = o_.model.generate;
    for (const CLI::Option* option : generate_->get_options())
        if (option->count() > 0 && !option->get_lnames().empty())
            o_.model.given.push_back(replace_all(option->get_lnames().front(), "-", "_"));
    if (!o_.eos.empty()) {
        g.eos_set = true;
        if (o_.eos != "none")
            for (const std::string& part : split(o_.eos, ','))
                g.eos_token_ids.push_back(token_id("--eos-token-id", trim(part)));
    }
    if (!o_.forced_eos.empty() && o_.forced_eos != "none")
        g.forced_eos_token_id = token_id("--forced-eos-token-id", o_.forced_eos);
    if (!o_.forced_bos.empty() && o_.forced_bos != "none")
        g.forced_bos_token_id = token_id("--forced-bos-token-id", o_.forced_bos);
    return generate_command(o_.model, o_.globals);
}

void CommandLine::add_tools() {
    CLI::App* sub = command("tokenize", "Text to ids and back",
                            "tokenize --tokenizer /models/llama-7b --input texts.jsonl",
                            [this] { return tokenize_command(o_.tokenize, o_.globals); });
    sub->add_option("--tokenizer", o_.tokenize.tokenizer, "folder or file")->required()->type_name("PATH");
    sub->add_option("--input", o_.tokenize.input, "texts, one JSON object a line")
        ->required()
        ->type_name("FILE");
    sub->add_flag("--no-special", o_.tokenize.no_special, "add no special tokens");
    sub = command("metric", "A metric on the field's own files, printed as JSON",
                  "metric caption --references annotations.json --predictions results.json",
                  [this] { return metric_command(o_.metric, o_.globals); });
    sub->add_option("name", o_.metric.name, "`list metrics` names them")->required()->type_name("NAME");
    sub->add_option("--references", o_.metric.references, "reference file")->required()->type_name("FILE");
    sub->add_option("--predictions", o_.metric.predictions, "prediction file")->required()->type_name("FILE");
    sub->add_option("--meteor-data", o_.metric.meteor_data,
                    "caption: METEOR's language data, a folder or its jar (else DORA_BENCH_METEOR)")
        ->type_name("DIR");
    sub->add_option("--spice-jar", o_.metric.spice_jar,
                    "caption: SPICE's Java program (else DORA_BENCH_SPICE); run by the java on PATH")
        ->type_name("FILE");
    sub = command("bench", "Step time, tokens per second, peak memory; JSON lines",
                  "bench --shape llama-7b-slice --method lora,dora --rank 16 --tokens 512 --steps 5",
                  [this] { return bench_command(o_.bench, o_.globals); });
    for (auto [flag, list, help] :
         {std::make_tuple("--shape", &o_.bench.shapes, "named shapes"),
          std::make_tuple("--method", &o_.bench.methods, "methods"),
          std::make_tuple("--dtype", &o_.bench.dtypes, "float32, bfloat16, float16")})
        sub->add_option(flag, *list, help)->delimiter(',')->allow_extra_args(false)->type_name("NAME,...");
    add_given<int64_t>(sub, "--rank", o_.bench.rank, "rank", 1);
    add_given<int64_t>(sub, "--tokens", o_.bench.tokens, "tokens of a step", 1);
    add_given<int64_t>(sub, "--steps", o_.bench.steps, "measured steps", 1);
    add_given<int64_t>(sub, "--warmup", o_.bench.warmup, "steps before the first measured one", 0);
    sub->add_option("--device", o_.bench.device, "cpu, cuda or cuda:N");
    sub->add_flag("--ops", o_.bench.ops, "also every op of the step on its own");
    sub->add_option("--peer", o_.bench.peer, "script of another tool's step, run in turn with ours")
        ->type_name("FILE");
    sub->add_option("--python", o_.bench.python, "interpreter of --peer")->type_name("FILE");
    add_given<int64_t>(sub, "--rounds", o_.bench.rounds, "turns of ours and the peer's", 1);
    sub->add_flag("!--no-interleave", o_.bench.interleave, "one method after the other instead of in turns");
    sub = command("schema", "JSON Schema of experiment files or of results",
                  "schema config > dora-bench.schema.json",
                  [this] { return schema_command(o_.word, o_.globals); });
    sub->add_option("what", o_.word, "config or result")->required()->type_name("WHAT");
    sub = command(
        "doctor",
        "Versions, device, memory, disk; with a configuration also its data, checkpoint and invariance",
        "doctor\ndoctor configs/llama3_commonsense.yaml",
        [this] { return doctor_command(o_.doctor, o_.globals); });
    add_config(sub, o_.doctor, false);
    sub = command("completion", "Completion of commands and options for a shell, to be sourced",
                  "completion bash > ~/.local/share/bash-completion/completions/dora-bench", [this] {
                      std::cout << bash_completion(app_);
                      return 0;
                  });
    sub->add_option("shell", o_.word, "bash")->required()->check(CLI::IsMember({"bash"}));
}

} // namespace dorabench
