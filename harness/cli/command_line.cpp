#include "harness/cli/command_line.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "harness/base/text.h"
#include "harness/cli/names.h"
#include "harness/cli/provenance.h"
#include <ATen/Parallel.h>

namespace dorabench {

CommandLine::CommandLine(Registries& registries)
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

int CommandLine::run(int argc, char** argv) {
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

CLI::App* CommandLine::command(const std::string& name, const std::string& help, const std::string& examples,
                               Action action) {
    CLI::App* sub = app_.add_subcommand(name, help);
    sub->footer("Examples:\n  dora-bench " + replace_all(examples, "\n", "\n  dora-bench ") +
                "\nGlobal options: --format, --quiet, --verbose, --no-progress, --threads, --plugin.");
    sub->callback([this, action = std::move(action)] { action_ = action; });
    sub->fallthrough();
    return sub;
}

void CommandLine::add_globals() {
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
    app_.set_version_flag("--version", "dora-bench " + version() + " (commit " + commit() + ", LibTorch " +
                                           libtorch_version() + ")");
}

void CommandLine::add_config(CLI::App* sub, ConfigOptions& options, bool required) {
    sub->add_option("config", options.config, "experiment file (YAML or JSON)")
        ->required(required)
        ->type_name("CONFIG");
    sub->add_option("overrides", options.overrides, "settings that replace the file's: adapter.rank=16")
        ->type_name("key=value");
}

void CommandLine::add_results_option(CLI::App* sub, std::string& results) {
    sub->add_option("--results", results, "results folder")->type_name("DIR")->capture_default_str();
}

void CommandLine::add_peek(CLI::App* sub, bool& allow) {
    sub->add_flag("--allow-peek", allow, "also test scores of candidates that lost a selection");
}

void CommandLine::add_selection(CLI::App* sub, std::string& key, bool& allow) {
    sub->add_option(
           "--select", key,
           "of runs that differ in this setting, as learning_rate, the one with the lowest validation "
           "loss; the others' test scores are withheld")
        ->type_name("KEY");
    add_peek(sub, allow);
}

void CommandLine::add_run(const std::string& name, const std::string& help, const std::string& examples) {
    CLI::App* sub = command(name, help, examples, [this] { return run_command(o_.run, o_.globals); });
    add_config(sub, o_.run);
    sub->add_option("--axis", o_.run.axes, "an axis of the sweep: key=a,b,c (may be repeated)")
        ->type_name("KEY=A,B")
        ->allow_extra_args(false);
    sub->add_option("-j,--jobs", o_.run.jobs,
                    "runs at the same time; torchrun: processes of each run; slurm: tasks at once (1: any)")
        ->check(CLI::Range(1, 1024))
        ->type_name("N");
    sub->add_option("--launcher", o_.run.launcher, "local, slurm or torchrun")
        ->check(CLI::IsMember({"local", "slurm", "torchrun"}));
    sub->add_option("--sbatch", o_.run.sbatch, "slurm: an option of the job array, as --sbatch=--gres=gpu:1")
        ->type_name("OPTION")
        ->allow_extra_args(false);
    sub->add_option("--entry", o_.run.entry, "this one run of the plan, from 0")
        ->check(CLI::NonNegativeNumber)
        ->type_name("N");
    sub->add_option("--started", o_.run.started, "failures recorded since stand (set for workers)")
        ->group("");
    sub->add_option("--select", o_.run.select,
                    "an axis to settle by validation loss, as learning_rate; the test set is scored for the "
                    "winner alone")
        ->type_name("KEY");
    add_peek(sub, o_.run.allow_peek);
    sub->add_flag("--dry-run", o_.run.dry_run, "print the plan and stop");
    sub->add_flag("--no-report", o_.run.no_report, "print no table and write no report");
}

void CommandLine::add_experiments() {
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
    add_peek(sub, o_.eval.allow_peek);
    sub = command("features", "Images and videos to the features that VL-BART trains on",
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
                  "validate configs/llama3_commonsense.yaml adapter.rank=16", [this] { return validate(); });
    sub->add_option("configs", o_.words, "experiment files, and key=value overrides for all of them")
        ->required()
        ->type_name("CONFIG...");
}

int CommandLine::validate() {
    std::vector<std::string> files, overrides;
    for (const std::string& word : o_.words) // a file may have = in its name
        (word.find('=') != std::string::npos && !exists(word) ? overrides : files).push_back(word);
    if (files.empty()) throw Error::config("validate: expected at least one experiment file");
    return validate_command(files, overrides, o_.globals);
}

void CommandLine::add_results() {
    CLI::App* sub =
        command("report", "Tables and rank curves of the store's runs",
                "report\nreport 0123abcd 4567ef01 --format latex --to table.tex\nreport --format html --to "
                "report.html\nreport --plots figures",
                [this] { return report_command(o_.report, o_.globals); });
    sub->add_option("runs", o_.report.runs, "ids, beginnings of ids, or names (all runs)")
        ->type_name("RUN...");
    add_results_option(sub, o_.report.results);
    add_selection(sub, o_.report.select, o_.report.allow_peek);
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
                  [this] { return show_command(o_.word, o_.results, o_.allow_peek, o_.globals); });
    add_peek(sub, o_.allow_peek);
    sub->add_option("run", o_.word, "id, beginning of an id, or name")->required()->type_name("RUN");
    add_results_option(sub, o_.results);
    sub = command("list", "What there is, with help and origin", "list tasks\nlist runs --results results",
                  [this] { return list_command(o_.word, o_.results, o_.globals); });
    sub->add_option("what", o_.word, "backends, adapters, tasks, metrics, configs or runs")
        ->required()
        ->type_name("WHAT");
    add_results_option(sub, o_.results);
    sub = command("compare", "Two runs or methods: paired tests, intervals, cost",
                  "compare 0123abcd 4567ef01\ncompare lora dora\ncompare lora dora --select learning_rate",
                  [this] { return compare_command(o_.compare, o_.globals); });
    sub->add_option("a", o_.compare.a, "run or method")->required()->type_name("A");
    sub->add_option("b", o_.compare.b, "run or method")->required()->type_name("B");
    add_results_option(sub, o_.compare.results);
    add_selection(sub, o_.compare.select, o_.compare.allow_peek);
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

// CLI11 says only "a subcommand is required"; here the word and the nearest name are said.
void CommandLine::refuse_unknown_words(int argc, char** argv) {
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
            throw Error::config(chosen ? chosen->get_name() + ": " : "", "no option is called \"", flag, "\"",
                                did_you_mean(flag, flags));
    }
}

} // namespace dorabench
