#pragma once
// The commands behind the command line, as functions of plain option structs. command_line.h alone sees CLI11
// and fills them; each command stands in its own file. Results go to stdout, everything else to stderr; the
// value returned is the process exit code. Errors are thrown.
#include "harness/api/registries.h"
#include <string>
#include <vector>

namespace dorabench {

struct Globals {
    std::string format = "text"; // text | json, and what a command adds
    bool quiet = false, verbose = false, progress = true;
    int threads = 0;                  // 0: torch's default
    std::vector<std::string> plugins; // --plugin: shared objects, loaded before those of the experiment file
    Registries* registries = nullptr;
};

struct ConfigOptions {
    std::string config;
    std::vector<std::string> overrides;
};
struct RunOptions : ConfigOptions {
    bool dry_run = false, no_report = false;
    std::vector<std::string> axes; // sweep: key=a,b,c
    int jobs = 1; // runs at once; torchrun: processes that share each run; slurm: tasks at once (1: no limit)
    std::string launcher = "local";  // local | slurm | torchrun
    std::vector<std::string> sbatch; // --sbatch: further options of the job array
    int64_t entry = -1;              // --entry: this one run of the plan (a task of the job array)
    std::string select;              // --select: an axis to settle by validation loss
    bool allow_peek = false;         // --allow-peek: evaluate also what lost a selection
    double started = 0; // --started: when the command began whose worker this is (seconds since 1970)
};
struct ParamsOptions : ConfigOptions {
    std::vector<int64_t> ranks;
};
struct EvalOptions : ConfigOptions {
    std::string adapter;
    bool allow_peek = false;
};
struct MergeOptions {
    std::string checkpoint, adapter, to, dtype, quantization = "none";
};
struct ExportOptions {
    std::string run, to, results = "results", as = "trained"; // as: trained | lora | tensorboard | lm-eval
};
struct ImportOptions {
    std::string source, to, checkpoint, dora_axis;
    double alpha = 0; // 0: the file's
};
struct AnalyzeOptions {
    std::vector<std::string> runs;
    std::string base, tuned, results = "results", plots, module; // module: a pattern, as "[qv]_proj"
    int64_t spectrum = 0;
};                    // spectrum: singular values kept a weight
struct ModelOptions { // score, generate
    std::string checkpoint, adapter, input, dtype = "float32", device = "auto", quantization = "none",
                                            tokenizer, vision_tower, image_processing = "pad";
    int64_t batch_size = 0;
    GenerateOptions generate;
    // generate: the options that stand on the command line ("num_beams", "forced_eos_token_id", …); the
    // checkpoint decides the others. A forced id that is given as `none` is -1 and stands here.
    std::vector<std::string> given;
};
struct FeaturesOptions : ConfigOptions {};
struct ScenesOptions {
    std::string to;
    uint64_t seed = 1;
    int64_t scenes = 3000, clips = 1000; // of the training split
};
struct TokenizeOptions {
    std::string tokenizer, input;
    bool no_special = false;
};
struct MetricOptions {
    std::string name, references, predictions, meteor_data, spice_jar;
};
// select: a setting that the validation loss settles; allow_peek: show test scores of candidates that lost
struct ReportOptions {
    std::vector<std::string> runs;
    std::string results = "results", to, plots, select;
    bool allow_peek = false;
};
struct ServeOptions {
    std::string results = "results";
    int port = 8017;
}; // port 0: any that is free
struct CompareOptions {
    std::string a, b, results = "results", select;
    bool allow_peek = false;
};
struct CheckOptions {
    std::vector<std::string> runs;
    std::string results = "results", baseline, junit, markdown;
    bool update = false, github = false;
};
struct CalibrateOptions : ConfigOptions {
    std::string baseline;
    int64_t n = 5; // seeds
};
struct BenchOptions {
    std::vector<std::string> shapes{"llama-7b-slice"}, methods{"dora"}, dtypes{"float32"};
    int64_t rank = 16, tokens = 512, steps = 5, warmup = 1;
    std::string device = "cpu";
    bool interleave = true; // methods take turns, step by step, so that a ratio is of one moment
    bool ops = false;       // also every op on its own
    std::string peer, python = "python3"; // a script of another tool's step, run in turn with ours
    int64_t rounds = 1;                   // of ours and the peer's
};

int run_command(const RunOptions&, const Globals&);
int params_command(const ParamsOptions&, const Globals&);
int validate_command(const std::vector<std::string>& configs, const std::vector<std::string>& overrides,
                     const Globals&);
int eval_command(const EvalOptions&, const Globals&);
int merge_command(const MergeOptions&, const Globals&);
int export_command(const ExportOptions&, const Globals&);
int import_command(const ImportOptions&, const Globals&);
int analyze_command(const AnalyzeOptions&, const Globals&);
int score_command(const ModelOptions&, const Globals&);
int generate_command(const ModelOptions&, const Globals&);
int features_command(const FeaturesOptions&, const Globals&);
int scenes_command(const ScenesOptions&, const Globals&);
int tokenize_command(const TokenizeOptions&, const Globals&);
int metric_command(const MetricOptions&, const Globals&);
int report_command(const ReportOptions&, const Globals&);
int serve_command(const ServeOptions&, const Globals&);
int compare_command(const CompareOptions&, const Globals&);
int check_command(const CheckOptions&, const Globals&);
int calibrate_command(const CalibrateOptions&, const Globals&);
int bench_command(const BenchOptions&, const Globals&);
int list_command(const std::string& what, const std::string& results, const Globals&);
int show_command(const std::string& run, const std::string& results, bool allow_peek, const Globals&);
int schema_command(const std::string& what, const Globals&);
int doctor_command(const ConfigOptions&, const Globals&);

// Parses argv and calls one of the above; returns the exit code. Errors are printed to stderr here.
int run_cli(int argc, char** argv, Registries& registries);

} // namespace dorabench
