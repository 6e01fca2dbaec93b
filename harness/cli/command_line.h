#pragma once
// The command line as CLI11 sees it; with cli.cpp and completion.cpp the only files that include CLI11. Fills
// the option structs of commands.h; which command was given is kept until run() calls it.
#include "harness/cli/merge.h"
#include <CLI/CLI.hpp>
#include <functional>
#include <limits>

namespace dorabench {

// Everything that flags can fill; one command's part is used.
struct Options {
    Globals globals;
    RunOptions run;
    ParamsOptions params;
    EvalOptions eval;
    MergeOptions merge;
    MergeForm merge_form;
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
    bool allow_peek = false;
};

using Action = std::function<int()>;

class CommandLine {
public:
    explicit CommandLine(Registries& registries);
    int run(int argc, char** argv); // throws CLI::ParseError, also for --help
    CLI::App& app() { return app_; }

private:
    // command_line.cpp: what experiments and the store are asked
    CLI::App* command(const std::string& name, const std::string& help, const std::string& examples,
                      Action action);
    void add_globals();
    void add_run(const std::string& name, const std::string& help, const std::string& examples);
    void add_experiments();
    void add_results();
    int validate();
    void refuse_unknown_words(int argc, char** argv);
    // command_line_models.cpp: what checkpoints, adapters and models are asked, and the tools
    void add_checkpoints();
    CLI::App* add_model(const std::string& name, const std::string& help, const std::string& examples,
                        Action action);
    void add_model_commands();
    void add_tools();
    int generate();

    static void add_config(CLI::App* sub, ConfigOptions& options, bool required = true);
    static void add_peek(CLI::App* sub, bool& allow);
    static void add_selection(CLI::App* sub, std::string& key, bool& allow);
    static void add_results_option(CLI::App* sub, std::string& results);
    template <typename T>
    static void add_given(CLI::App* sub, const std::string& flag, T& value, const std::string& help, T low) {
        sub->add_option(flag, value, help)
            ->check(CLI::Range(low, std::numeric_limits<T>::max()))
            ->type_name("N");
    }

    Options o_;
    CLI::App app_;
    CLI::App* generate_ = nullptr;
    Action action_;
};

} // namespace dorabench
