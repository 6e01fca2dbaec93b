// The command line: with completion.cpp the only file that includes CLI11. Fills the option structs of
// commands.h, calls a command, turns what it throws into a message and an exit code.
#include "harness/base/env.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "harness/base/text.h"
#include "harness/cli/completion.h"
#include "harness/cli/names.h"
#include "harness/cli/provenance.h"
#include "harness/config/config.h"
#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <c10/util/Exception.h>
#include <csignal>
#include <iostream>
#include <limits>
#include <poll.h>
#include <unistd.h>

namespace dorabench {
namespace {

constexpr int kUsage = 2, kResources = 8;

// Everything that flags can fill; one command's part is used.
struct Options {
    Globals globals;
    RunOptions run;
    ParamsOptions params;
    EvalOptions eval;
    MergeOptions merge;
    ExportOptions export_;
    ImportOptions import_;
    AnalyzeOptions analyze;
    ModelOptions model;
    std::string eos = "", forced_eos = "", forced_bos = "";
    FeaturesOptions features;
    ScenesOptions scenes;
    TokenizeOptions tokenize;
    MetricOptions metric;
    ReportOptions report;
    ServeOptions serve;
    CompareOptions compare;
    CheckOptions check;
    CalibrateOptions calibrate;
    BenchOptions bench;
    ConfigOptions doctor;
    std::vector<std::string> words;
    std::string word, results = "results";
};

using Action = std::function<int()>;

class CommandLine {
public:
    explicit CommandLine(Registries& registries)
        : app_("Benchmark and evaluation of parameter-efficient fine-tuning: DoRA, LoRA, VeRA, DVoRA, full "
               "fine-tuning.",
               "dora-bench") {
        o_.globals.registries = &registries;
        app_.require_subcommand(1);
        app_.fallthrough();
        app_.get_formatter()->column_width(32);
        app_.footer("Examples:\n  dora-bench run configs/llama3_commonsense.yaml --dry-run\n"
                    "  dora-bench params configs/llama3_commonsense.yaml --ranks 4,8,16,32\n"
                    "  dora-bench report --format markdown\n"
                    "`dora-bench COMMAND --help` shows a command's options and examples.");
        add_globals();
        add_experiments();
        add_results();
        add_checkpoints();
        add_model_commands();
        add_tools();
    }

    int run(int argc, char** argv) {
        refuse_unknown_words(argc, argv);
        app_.parse(argc, argv); // throws CLI::ParseError, also for --help
        log::set_level(o_.globals.quiet     ? log::Level::warning
                       : o_.globals.verbose ? log::Level::debug
                                            : log::Level::info);
        set_progress_enabled(o_.globals.progress && !o_.globals.quiet);
        if (o_.globals.threads > 0) at::set_num_threads(o_.globals.threads);
        for (const std::string& path : o_.globals.plugins) use_plugin(path, *o_.globals.registries);
        if (o_.globals.format == "table") o_.globals.format = "text";
        return action_();
    }

    CLI::App& app() { return app_; }

private:
    CLI::App* command(const std::string& name, const std::string& help, const std::string& examples,
                      Action action) {
        CLI::App* sub = app_.add_subcommand(name, help);
        sub->footer("Examples:\n  dora-bench " + replace_all(examples, "\n", "\n  dora-bench ") +
                    "\nGlobal options: --format, --quiet, --verbose, --no-progress, --threads, --plugin.");
        sub->callback([this, action = std::move(action)] { action_ = action; });
        sub->fallthrough();
        return sub;
    }

    void add_globals() {
        app_.add_option("--format", o_.globals.format,
                        "text or json; report also table, markdown, csv, latex, html")
            ->type_name("FORMAT");
        app_.add_flag("-q,--quiet", o_.globals.quiet, "warnings, errors and results only");
        app_.add_flag("-v,--verbose", o_.globals.verbose, "more on stderr");
        app_.add_flag("--no-progress{false},!--progress", o_.globals.progress, "no progress lines");
        app_.add_option("--threads", o_.globals.threads, "CPU threads (0: all cores)")
            ->check(CLI::Range(0, 4096))
            ->type_name("N");
        app_.add_option("--plugin", o_.globals.plugins,
                        "a shared object with backends or tasks (may be repeated)")
            ->type_name("FILE")
            ->allow_extra_args(false);
        app_.set_version_flag("--version", "dora-bench " + version() + " (commit " + commit() +
                                               ", LibTorch " + libtorch_version() + ")");
    }

    static void add_config(CLI::App* sub, ConfigOptions& options, bool required = true) {
        sub->add_option("config", options.config, "experiment file (YAML or JSON)")
            ->required(required)
            ->type_name("CONFIG");
        sub->add_option("overrides", options.overrides, "settings that replace the file's: adapter.rank=16")
            ->type_name("key=value");
    }

    void add_results_option(CLI::App* sub, std::string& results) {
        sub->add_option("--results", results, "results folder")->type_name("DIR")->capture_default_str();
    }

    void add_run(const std::string& name, const std::string& help, const std::string& examples) {
        CLI::App* sub = command(name, help, examples, [this] { return run_command(o_.run, o_.globals); });
        add_config(sub, o_.run);
        sub->add_option("--axis", o_.run.axes, "an axis of the sweep: key=a,b,c (may be repeated)")
            ->type_name("KEY=A,B")
            ->allow_extra_args(false);
        sub->add_option(
               "-j,--jobs", o_.run.jobs,
               "runs at the same time; torchrun: processes of each run; slurm: tasks at once (1: any)")
            ->check(CLI::Range(1, 1024))
            ->type_name("N");
        sub->add_option("--launcher", o_.run.launcher, "local, slurm or torchrun")
            ->check(CLI::IsMember({"local", "slurm", "torchrun"}));
        sub->add_option("--sbatch", o_.run.sbatch,
                        "slurm: an option of the job array, as --sbatch=--gres=gpu:1")
            ->type_name("OPTION")
            ->allow_extra_args(false);
        sub->add_option("--entry", o_.run.entry, "this one run of the plan, from 0")
            ->check(CLI::NonNegativeNumber)
            ->type_name("N");
        sub->add_option("--started", o_.run.started, "failures recorded since stand (set for workers)")
            ->group("");
        sub->add_flag("--dry-run", o_.run.dry_run, "print the plan and stop");
        sub->add_flag("--no-report", o_.run.no_report, "print no table and write no report");
    }

    void add_experiments() {
        add_run("run", "Plan, train, evaluate, record; prints the table and writes the report",
                "run configs/llama3_commonsense.yaml\nrun configs/llama3_commonsense.yaml adapter.rank=16 "
                "seed=1 --dry-run");
        add_run("sweep", "As run, with axes from the command line",
                "sweep configs/llama3_commonsense.yaml --axis adapter.method=lora,dora --axis "
                "adapter.rank=4,8,16");
        CLI::App* sub = command("params", "Trainable and total parameters and memory, from shapes alone",
                                "params configs/llama3_commonsense.yaml adapter.method=vera\nparams "
                                "configs/llama3_commonsense.yaml --ranks 4,8,16 --format json",
                                [this] { return params_command(o_.params, o_.globals); });
        add_config(sub, o_.params);
        sub->add_option("--ranks", o_.params.ranks, "a table over these ranks")
            ->delimiter(',')
            ->check(CLI::Range(1, 1 << 16))
            ->type_name("R,R,...")
            ->allow_extra_args(false);
        sub = command("eval", "Evaluation alone, of the base or of an adapter folder",
                      "eval configs/llama3_commonsense.yaml --adapter results/runs/0123456789abcdef/adapter",
                      [this] { return eval_command(o_.eval, o_.globals); });
        add_config(sub, o_.eval);
        sub->add_option("--adapter", o_.eval.adapter, "adapter folder in HF PEFT's format")->type_name("DIR");
        sub =
            command("features", "Images and videos to the features that VL-BART trains on",
                    "features configs/vlbart/image_dora.yaml\nfeatures my.yaml data_dir=/data --format json",
                    [this] { return features_command(o_.features, o_.globals); });
        add_config(sub, o_.features);
        sub = command("scenes", "Pictures and clips with questions about them: the media quickstart's data",
                      "scenes --to results/quickstart/media",
                      [this] { return scenes_command(o_.scenes, o_.globals); });
        sub->add_option("--to", o_.scenes.to, "folder, which is made")->required()->type_name("DIR");
        sub->add_option("--seed", o_.scenes.seed, "everything follows from it")->capture_default_str();
        sub->add_option("--scenes", o_.scenes.scenes, "pictures to train on")
            ->check(CLI::Range(2, 1 << 20))
            ->capture_default_str();
        sub->add_option("--clips", o_.scenes.clips, "clips to train on")
            ->check(CLI::Range(2, 1 << 20))
            ->capture_default_str();
        sub = command("validate", "Check experiment files; reads no weights and no data",
                      "validate configs/llama3_commonsense.yaml adapter.rank=16",
                      [this] { return validate(); });
        sub->add_option("configs", o_.words, "experiment files, and key=value overrides for all of them")
            ->required()
            ->type_name("CONFIG...");
    }

    int validate() {
        std::vector<std::string> files, overrides;
        for (const std::string& word : o_.words) // a file may have = in its name
            (word.find('=') != std::string::npos && !exists(word) ? overrides : files).push_back(word);
        if (files.empty()) throw Error::config("validate: expected at least one experiment file");
        return validate_command(files, overrides, o_.globals);
    }

    void add_results() {
        CLI::App* sub = command(
            "report", "Tables and rank curves of the store's runs",
            "report\nreport 0123abcd 4567ef01 --format latex --to table.tex\nreport --format html --to "
            "report.html\nreport --plots figures",
            [this] { return report_command(o_.report, o_.globals); });
        sub->add_option("runs", o_.report.runs, "ids, beginnings of ids, or names (all runs)")
            ->type_name("RUN...");
        add_results_option(sub, o_.report.results);
        sub->add_option("--to", o_.report.to, "write there instead of stdout")->type_name("FILE");
        sub->add_option("--plots", o_.report.plots, "write every figure there as SVG, PNG, PDF and Vega-Lite")
            ->type_name("DIR");
        sub = command("serve", "The report, live over the store while runs go on, on 127.0.0.1",
                      "serve\nserve --results results/quickstart --port 0",
                      [this] { return serve_command(o_.serve, o_.globals); });
        sub->add_option("--port", o_.serve.port, "port (0: any free one)")
            ->check(CLI::Range(0, 65535))
            ->capture_default_str();
        add_results_option(sub, o_.serve.results);
        sub = command("show", "One run: settings, self-checks, metrics, steps, samples", "show 0123abcd",
                      [this] { return show_command(o_.word, o_.results, o_.globals); });
        sub->add_option("run", o_.word, "id, beginning of an id, or name")->required()->type_name("RUN");
        add_results_option(sub, o_.results);
        sub =
            command("list", "What there is, with help and origin", "list tasks\nlist runs --results results",
                    [this] { return list_command(o_.word, o_.results, o_.globals); });
        sub->add_option("what", o_.word, "backends, adapters, tasks, metrics, configs or runs")
            ->required()
            ->type_name("WHAT");
        add_results_option(sub, o_.results);
        sub = command("compare", "Two runs or methods: paired tests, intervals, cost",
                      "compare 0123abcd 4567ef01\ncompare lora dora",
                      [this] { return compare_command(o_.compare, o_.globals); });
        sub->add_option("a", o_.compare.a, "run or method")->required()->type_name("A");
        sub->add_option("b", o_.compare.b, "run or method")->required()->type_name("B");
        add_results_option(sub, o_.compare.results);
        sub = command(
            "check", "Regression gate against a committed baseline: 0 pass, 3 regressed, 4 incomparable",
            "check --baseline results/baselines/ci.json\ncheck --baseline results/baselines/ci.json --update",
            [this] { return check_command(o_.check, o_.globals); });
        sub->add_option("runs", o_.check.runs, "ids, beginnings of ids, or names (all runs)")
            ->type_name("RUN...");
        sub->add_option("--baseline", o_.check.baseline, "baseline file")->required()->type_name("FILE");
        sub->add_flag("--update", o_.check.update, "write the baseline from the runs");
        sub->add_option("--junit", o_.check.junit, "write a JUnit report")->type_name("FILE");
        sub->add_option("--markdown", o_.check.markdown, "write a Markdown report")->type_name("FILE");
        sub->add_flag("--github", o_.check.github, "annotations of GitHub Actions");
        add_results_option(sub, o_.check.results);
        sub = command("calibrate",
                      "Measure the noise floor that check tolerates: repeats under other seeds and batches",
                      "calibrate configs/quickstart/methods.yaml -n 5 --baseline results/baselines/ci.json",
                      [this] { return calibrate_command(o_.calibrate, o_.globals); });
        add_config(sub, o_.calibrate);
        sub->add_option("-n,--repeats", o_.calibrate.n, "seeds")->check(CLI::Range(2, 100))->type_name("N");
        sub->add_option("--baseline", o_.calibrate.baseline, "baseline file")->required()->type_name("FILE");
    }

    void add_checkpoints() {
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
        sub->add_option("--plots", o_.analyze.plots, "write the figures there as SVG, PNG, PDF and Vega-Lite")
            ->type_name("DIR");
        add_results_option(sub, o_.analyze.results);
        sub->add_option("--base", o_.analyze.base, "checkpoint folder or safetensors file")
            ->type_name("PATH");
        sub->add_option("--tuned", o_.analyze.tuned, "checkpoint folder or safetensors file")
            ->type_name("PATH");
        sub = command(
            "export", "What a run trained: its HF PEFT folder, or a HF checkpoint after full fine-tuning",
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
        sub = command("import",
                      "Another project's adapter as a HF PEFT folder (the format is told by its keys)",
                      "import adapter_model.bin --to adapter\nimport mlx_adapters --to adapter --checkpoint "
                      "/models/llama-7b",
                      [this] { return import_command(o_.import_, o_.globals); });
        sub->add_option("source", o_.import_.source, "adapter file or folder")
            ->required()
            ->type_name("FILE|DIR");
        sub->add_option("--to", o_.import_.to, "folder to write")->required()->type_name("DIR");
        sub->add_option("--checkpoint", o_.import_.checkpoint, "its base: every key is checked against it")
            ->type_name("DIR");
        sub->add_option("--alpha", o_.import_.alpha, "where the file does not tell (scale * rank)")
            ->check(CLI::PositiveNumber)
            ->type_name("X");
        sub->add_option("--dora-axis", o_.import_.dora_axis, "what a dora_scale on a square layer runs over")
            ->check(CLI::IsMember({"out", "in"}));
        sub = command("merge", "Write a HF checkpoint with the adapter merged in",
                      "merge --checkpoint /models/llama-7b --adapter adapter --to merged --dtype float32",
                      [this] { return merge_command(o_.merge, o_.globals); });
        sub->add_option("--checkpoint", o_.merge.checkpoint, "base checkpoint folder or hub id")
            ->required()
            ->type_name("DIR");
        sub->add_option("--adapter", o_.merge.adapter, "adapter folder in HF PEFT's format")
            ->required()
            ->type_name("DIR");
        sub->add_option("--to", o_.merge.to, "folder to write")->required()->type_name("DIR");
        sub->add_option("--dtype", o_.merge.dtype, "float32, bfloat16 or float16 (the base's)")
            ->check(dtype());
        sub->add_option(
               "--quantization", o_.merge.quantization,
               "nf4: the adapter was trained on the base in NF4; its dequantised weights are merged into")
            ->check(CLI::IsMember({"none", "nf4"}))
            ->capture_default_str();
    }

    static CLI::IsMember dtype() { return CLI::IsMember({"float32", "bfloat16", "float16"}); }

    CLI::App* add_model(const std::string& name, const std::string& help, const std::string& examples,
                        Action action) {
        CLI::App* sub = command(name, help, examples, std::move(action));
        sub->add_option("--checkpoint", o_.model.checkpoint, "checkpoint folder or hub id")
            ->required()
            ->type_name("DIR");
        sub->add_option("--adapter", o_.model.adapter, "adapter folder in HF PEFT's format")
            ->type_name("DIR");
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

    template <typename T>
    void add_given(CLI::App* sub, const std::string& flag, T& value, const std::string& help, T low) {
        sub->add_option(flag, value, help)
            ->check(CLI::Range(low, std::numeric_limits<T>::max()))
            ->type_name("N");
    }

    void add_model_commands() {
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
        add_given<double>(sub, "--repetition-penalty", g.repetition_penalty,
                          "above 1: repetition is less likely", 1e-6);
        add_given<int64_t>(sub, "--no-repeat-ngram-size", g.no_repeat_ngram_size,
                           "n-grams of this size come once", 0);
        add_given<double>(sub, "--temperature", g.temperature, "above 0 switches sampling on", 0);
        sub->add_option("--top-p", g.top_p, "sampling: smallest set of this probability")
            ->check(CLI::Range(0.0, 1.0));
        add_given<int64_t>(sub, "--top-k", g.top_k, "sampling: the k likeliest (0: all)", 0);
        add_given<uint64_t>(sub, "--seed", g.seed, "of sampling", 0);
        sub->add_option("--forced-eos-token-id", o_.forced_eos, "last token at the length limit, or none")
            ->type_name("N|none");
        sub->add_option("--forced-bos-token-id", o_.forced_bos, "first new token, or none")
            ->type_name("N|none");
    }

    static int64_t token_id(const std::string& flag, const std::string& text) {
        char* end = nullptr;
        errno = 0;
        long long id = std::strtoll(text.c_str(), &end, 10);
        if (text.empty() || *end || errno || id < 0)
            throw Error::config(flag, ": expected a token id or none, got \"", text, "\"");
        return id;
    }

    int generate() {
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

    void add_tools() {
        CLI::App* sub = command("tokenize", "Text to ids and back",
                                "tokenize --tokenizer /models/llama-7b --input texts.jsonl",
                                [this] { return tokenize_command(o_.tokenize, o_.globals); });
        sub->add_option("--tokenizer", o_.tokenize.tokenizer, "folder or file")
            ->required()
            ->type_name("PATH");
        sub->add_option("--input", o_.tokenize.input, "texts, one JSON object a line")
            ->required()
            ->type_name("FILE");
        sub->add_flag("--no-special", o_.tokenize.no_special, "add no special tokens");
        sub = command("metric", "A metric on the field's own files, printed as JSON",
                      "metric caption --references annotations.json --predictions results.json",
                      [this] { return metric_command(o_.metric, o_.globals); });
        sub->add_option("name", o_.metric.name, "`list metrics` names them")->required()->type_name("NAME");
        sub->add_option("--references", o_.metric.references, "reference file")
            ->required()
            ->type_name("FILE");
        sub->add_option("--predictions", o_.metric.predictions, "prediction file")
            ->required()
            ->type_name("FILE");
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
            sub->add_option(flag, *list, help)
                ->delimiter(',')
                ->allow_extra_args(false)
                ->type_name("NAME,...");
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
        sub->add_flag("!--no-interleave", o_.bench.interleave,
                      "one method after the other instead of in turns");
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

    // CLI11 says only "a subcommand is required"; here the word and the nearest name are said.
    void refuse_unknown_words(int argc, char** argv) {
        std::vector<std::string> commands;
        for (const CLI::App* sub : app_.get_subcommands({})) commands.push_back(sub->get_name());
        const CLI::App* chosen = nullptr;
        for (int i = 1; i < argc; ++i) {
            std::string word = argv[i];
            if (word == "--") return;
            if (starts_with(word, "-")) {
                if (!chosen && (word == "--format" || word == "--threads" || word == "--plugin"))
                    ++i; // its value
                continue;
            }
            if (std::find(commands.begin(), commands.end(), word) == commands.end())
                throw Error::config("no command is called \"", word, "\"", did_you_mean(word, commands),
                                    "; dora-bench --help lists them");
            chosen = app_.get_subcommand(word);
            break;
        }
        std::vector<std::string> flags = {"--help", "--version"};
        for (const CLI::App* owner : {static_cast<const CLI::App*>(&app_), chosen})
            if (owner)
                for (const CLI::Option* option : owner->get_options())
                    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
        for (int i = 1; i < argc; ++i) {
            std::string word = argv[i], flag = word.substr(0, word.find('='));
            if (word == "--") return;
            if (starts_with(word, "--") && std::find(flags.begin(), flags.end(), flag) == flags.end())
                throw Error::config(chosen ? chosen->get_name() + ": " : "", "no option is called \"", flag,
                                    "\"", did_you_mean(flag, flags));
        }
    }

    Options o_;
    CLI::App app_;
    CLI::App* generate_ = nullptr;
    Action action_;
};

int complain(const std::string& message, int code) {
    std::cout.flush();
    std::cerr << "error: " << message << "\n";
    return code;
}

// c10's messages end with a C++ backtrace, which says nothing to a user.
int complain_torch(const c10::Error& error) {
    std::string message = error.what_without_backtrace();
    bool memory = dynamic_cast<const c10::OutOfMemoryError*>(&error) ||
                  message.find("can't allocate memory") != std::string::npos ||
                  message.find("not enough memory") != std::string::npos;
    return complain(message, memory ? kResources : exit_code(ErrorKind::internal));
}

int dispatch(int argc, char** argv, Registries& registries) {
    CommandLine line(registries);
    try {
        return line.run(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0)
            return line.app().exit(error, std::cout, std::cerr); // --help, --version
        return complain(error.what() + std::string("; see dora-bench --help"), kUsage);
    } catch (const ConfigErrors& error) { // carries its places and carets
        std::cout.flush();
        std::cerr << error.what() << "\n";
        return exit_code(error.kind());
    } catch (const Error& error) {
        return complain(error.what(), exit_code(error.kind()));
    } catch (const c10::Error& error) {
        return complain_torch(error);
    } catch (const std::bad_alloc&) {
        return complain("out of memory; a smaller batch, model or dtype needs less", kResources);
    } catch (const std::exception& error) {
        return complain(error.what(), exit_code(ErrorKind::internal));
    }
}

// A reader that went away (| head) is no error; a full disk behind stdout is.
int flush_results(int code) {
    std::cout.flush();
    if (std::cout) return code;
    pollfd out{STDOUT_FILENO, POLLOUT, 0};
    if (::poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP))) return code;
    return complain("the results could not be written to stdout (disk full or closed?)", kResources);
}

} // namespace

int run_cli(int argc, char** argv, Registries& registries) {
    std::signal(SIGPIPE, SIG_IGN);
    return flush_results(dispatch(argc, argv, registries));
}

} // namespace dorabench
