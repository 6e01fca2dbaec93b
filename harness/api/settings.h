#pragma once
// What a user states in YAML, as plain structs with the defaults of the contract. harness/config reads,
// checks, dumps and hashes them; everyone else only uses them. Names equal the YAML keys.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dorabench {

struct BackendSettings {
    std::string type;       // llama | vlbart | llava | a plug-in's
    std::string checkpoint; // a HF folder, or a hub id found in the local HF cache; exactly one of checkpoint
                            // and shape
    std::string shape;      // a named shape with random weights
    std::string tokenizer;  // where it is not in the checkpoint's folder
    std::string vision_tower;          // llava, original layout: the vision tower's folder
    std::string dtype = "float32";     // float32 | bfloat16 | float16
    std::string device = "auto";       // auto | cpu | cuda | cuda:N
    std::string quantization = "none"; // none | nf4
    bool double_quant = true;
    std::string attention = "sdpa";             // sdpa | math (bit-exact)
    std::string image_processing = "pad";       // llava: pad | crop
    std::map<std::string, std::string> options; // free keys of a plug-in
};

struct AdapterSettings {
    std::string method = "none"; // none | ft | lora | dora | vera | dvora
    int64_t rank = 8;
    double alpha = 0; // lora, dora: resolved; the YAML gives alpha, or scaling (alpha = scaling * rank)
    bool has_alpha = false, has_scaling = false;
    double scaling = 0;
    double dropout = 0;
    std::string dropout_placement = "input"; // input (NVlabs, HF PEFT) | adapter (the low-rank path alone)
    std::string norm_grad = "detached";      // detached | full
    std::vector<std::string> target_modules; // suffixes or fnmatch patterns; see target_regex
    std::string target_regex; // target_modules given as one string: a regular expression (full match), or
                              // "all-linear"
    std::vector<std::string> exclude_modules;
    std::vector<std::string> magnitude_modules; // magnitude only, no low-rank pair
    std::vector<std::pair<std::string, int64_t>>
        rank_pattern; // as PEFT's: key is a suffix or regular expression, first match wins
    std::vector<std::pair<std::string, double>> alpha_pattern;
    bool rslora = false;
    std::string init = "kaiming"; // kaiming | gaussian | pissa | path to a PEFT adapter folder
    double d_initial = 0.1;       // vera, dvora
    int64_t projection_prng_key = 0;
    bool save_projection = true;
    std::string magnitude_from = "dequantized"; // nf4 base: dequantized | original
    std::vector<std::string> train_also;        // fnmatch patterns of further trainable parameters
};

struct ParameterGroup {
    std::string match; // fnmatch pattern over the trainable parameters' names
    std::optional<double> learning_rate, learning_rate_ratio, weight_decay;
};

struct DataSource {   // one element of train.data
    std::string name; // task name or file
    int64_t batch_size = 0;
};

struct TrainSettings {
    std::vector<DataSource> data; // empty: no training
    std::string template_name;    // YAML: template
    bool train_on_inputs = true;
    int64_t validation = 0;
    double epochs = 0; // exactly one of epochs and max_steps
    int64_t max_steps = 0;
    int64_t batch_size = 16, micro_batch_size = 16;
    double learning_rate = 1e-4;
    std::string scheduler = "linear"; // linear | cosine | constant
    int64_t warmup_steps = 0;
    double warmup_ratio = 0;
    std::string optimizer = "adamw";
    double beta1 = 0.9, beta2 = 0.999; // YAML: betas
    double eps = 1e-8, weight_decay = 0;
    std::vector<ParameterGroup> groups;
    double max_grad_norm = 1.0;
    int64_t max_length = 256;
    bool gradient_checkpointing = false, packing = false, shuffle = true;
    std::string sampler = "random"; // random | group_by_length | group_by_modality_length
    int64_t save_every = 500, evaluate_every = 0;
    int64_t keep_every = 0; // adapters on the way that stay, for analyze: <run>/adapters/step-N
};

struct EvaluateSettings {
    std::vector<std::string> tasks;
    std::string template_name; // YAML: template; empty: the task's own
    int64_t num_fewshot = 0;
    std::string chat_template;                 // empty: none
    std::string mode = "generate";             // generate | loglikelihood
    int64_t num_beams = 0, max_new_tokens = 0; // 0: the task's own
    int64_t limit = 0;                         // > 0: the run is stamped partial
    int64_t batch_size = 0;                    // 0: auto
};

struct SelectSettings {
    std::string over, by = "validation.loss";
};

// Images or videos to features, or the field's feature files to ours: one element of the section `features`,
// which the command of that name carries out. Paths are looked for below data_dir, then as they stand.
struct FeatureSettings {
    std::string images, videos, import; // a folder (with the folders in it); exactly one of the three
    std::string
        list; // which files of the folder, and their ids: {"images": [{id, file_name}]} or lines {id, file}
    std::string to;      // the store's folder, below data_dir
    std::string encoder; // CLIP: a HF folder, or open_clip's safetensors file
    std::string kind =
        "grid"; // grid: a row for each place of the last grid; embedding: a row for each picture
    std::string resize =
        "auto";         // stretch (VL-T5's grids) | crop (CLIP's own, VALUE's embeddings) | auto: by kind
    double every = 1.5; // videos: seconds from frame to frame
    int64_t rows = 0;   // fitted to so many rows, by zeros or maxima; 0: as many as there are
    int64_t batch_size = 32;       // pictures the encoder sees at once
    int64_t workers = 0;           // decoding threads; 0: as many as processors
    std::string on_error = "skip"; // damaged files: skip (and say so) | refuse
    std::string dtype = "float32";
};

struct RunSettings { // one run, fully resolved
    std::string name;
    uint64_t seed = 42;
    std::string data_dir = "data";
    std::vector<std::string> plugins;
    BackendSettings backend;
    AdapterSettings adapter;
    TrainSettings train;
    EvaluateSettings evaluate;
    std::string results = "results/";
};

} // namespace dorabench
