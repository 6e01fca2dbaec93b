#include "harness/config/fields.h"

namespace dorabench {

namespace {

void visit_backend(Fields& f, BackendSettings& s) {
    f.begin("backend", "the backbone: its family, weights and numerics");
    f.field("type", s.type, {.help = "backbone family", .names = &KnownNames::backends, .required = true});
    f.field("checkpoint", s.checkpoint,
            {.help = "a HF folder, or a hub id in the local HF cache", .twin = true});
    f.field("shape", s.shape,
            {.help = "a named shape with random weights", .names = &KnownNames::shapes, .twin = true});
    f.field("tokenizer", s.tokenizer,
            {.help = "where it is not in the checkpoint's folder", .nullable = true});
    f.field("vision_tower", s.vision_tower,
            {.help = "llava, original layout: the vision tower's folder", .nullable = true});
    f.field("dtype", s.dtype,
            {.help = "of the frozen weights", .choices = {"float32", "bfloat16", "float16"}});
    f.field("device", s.device,
            {.help = "auto, cpu, cuda or cuda:N", .pattern = "auto|cpu|cuda(:[0-9]{1,3})?"});
    f.field("quantization", s.quantization, {.help = "nf4: QLoRA and QDoRA", .choices = {"none", "nf4"}});
    f.field("double_quant", s.double_quant, {.help = "nf4: the scales are quantised too"});
    f.field("attention", s.attention, {.help = "math: bit-exact", .choices = {"sdpa", "math"}});
    f.field("image_processing", s.image_processing,
            {.help = "llava: how images become square", .choices = {"pad", "crop"}});
    f.field("options", s.options,
            {.help = "keys of a plug-in; vlbart: visual (image, video) for a plain BART"});
    f.end();
}

void visit_adapter(Fields& f, AdapterSettings& s) {
    f.begin("adapter", "the fine-tuning method");
    f.field("method", s.method, {.help = "what is trained", .names = &KnownNames::methods});
    f.field("rank", s.rank, {.help = "rank of the update", .at_least = 1, .at_most = 65536});
    f.field(
        "alpha", s.alpha,
        {.help = "the update is scaled by alpha / rank", .above = 0, .given = &s.has_alpha, .twin = true});
    f.field("scaling", s.scaling,
            {.help = "alpha / rank", .above = 0, .given = &s.has_scaling, .twin = true});
    f.field("dropout", s.dropout, {.help = "of the adapter's input in training", .at_least = 0, .below = 1});
    f.field("dropout_placement", s.dropout_placement,
            {.help = "input: as NVlabs and HF PEFT; adapter: on the low-rank path alone",
             .choices = {"input", "adapter"}});
    f.field("norm_grad", s.norm_grad,
            {.help = "is the norm a constant for the gradient (the paper's section 4.3)?",
             .choices = {"detached", "full"}});
    f.list_or_regex(
        "target_modules", s.target_modules, s.target_regex,
        {.help = "suffixes or patterns of linear layers; as a string: a regular expression, or all-linear"});
    f.field("exclude_modules", s.exclude_modules, {.help = "patterns of layers to leave out"});
    f.field("magnitude_modules", s.magnitude_modules,
            {.help = "layers with a magnitude alone, no low-rank pair"});
    f.field("rank_pattern", s.rank_pattern,
            {.help = "rank by module, as PEFT's", .at_least = 1, .at_most = 65536});
    f.field("alpha_pattern", s.alpha_pattern, {.help = "alpha by module, as PEFT's", .above = 0});
    f.field("rslora", s.rslora, {.help = "scale by alpha / sqrt(rank)"});
    f.field("init", s.init,
            {.help = "how the low-rank pair starts, or a PEFT adapter folder to start from",
             .choices = {"kaiming", "gaussian", "pissa"},
             .or_path = true});
    f.field("d_initial", s.d_initial, {.help = "first value of the d vector"});
    f.field("projection_prng_key", s.projection_prng_key,
            {.help = "seed of the shared projections", .at_least = 0});
    f.field("save_projection", s.save_projection, {.help = "store the shared projections with the adapter"});
    f.field("magnitude_from", s.magnitude_from,
            {.help = "nf4: the weights whose norms the magnitudes start from",
             .choices = {"dequantized", "original"}});
    f.field("train_also", s.train_also, {.help = "patterns of further trainable parameters"});
    f.end();
}

void visit_group(Fields& f, ParameterGroup& s) {
    f.field("match", s.match, {.help = "pattern over parameter names", .required = true});
    f.field("learning_rate", s.learning_rate, {.help = "its own", .at_least = 0});
    f.field("learning_rate_ratio", s.learning_rate_ratio,
            {.help = "times the global one (LoRA+)", .at_least = 0});
    f.field("weight_decay", s.weight_decay, {.help = "its own", .at_least = 0});
}

void visit_source(Fields& f, DataSource& s) {
    f.field("task", s.name,
            {.help = "a task, or a .json or .jsonl file",
             .names = &KnownNames::tasks,
             .or_file = true,
             .required = true});
    f.field("batch_size", s.batch_size,
            {.help = "of this task's batches; 0: train.batch_size", .at_least = 0});
}

void visit_train(Fields& f, TrainSettings& s) {
    f.begin("train", "training; left out: none");
    f.records("data",
              {[&] { return s.data.size(); }, [&](size_t n) { s.data.resize(n); },
               [&](Fields& inner, size_t i) { visit_source(inner, s.data[i]); }, "task"},
              {.help = "a task, tasks that are mixed by batch, or a file", .required = true});
    f.field("template", s.template_name,
            {.help = "a named prompt template", .names = &KnownNames::templates, .nullable = true});
    f.field("train_on_inputs", s.train_on_inputs, {.help = "does the prompt bear loss?"});
    f.field("validation", s.validation, {.help = "held-out examples", .at_least = 0});
    f.field("epochs", s.epochs, {.help = "passes over the data", .above = 0, .twin = true});
    f.field("max_steps", s.max_steps, {.help = "optimiser steps", .at_least = 1, .twin = true});
    f.field("batch_size", s.batch_size, {.help = "examples a step", .at_least = 1});
    f.field("micro_batch_size", s.micro_batch_size, {.help = "examples a forward pass", .at_least = 1});
    f.field("learning_rate", s.learning_rate, {.help = "the highest", .at_least = 0});
    f.field("scheduler", s.scheduler, {.help = "as HF's", .choices = {"linear", "cosine", "constant"}});
    f.field("warmup_steps", s.warmup_steps, {.help = "from rate 0 up", .at_least = 0, .twin = true});
    f.field("warmup_ratio", s.warmup_ratio,
            {.help = "share of all steps", .at_least = 0, .at_most = 1, .twin = true});
    f.field("optimizer", s.optimizer, {.help = "AdamW", .choices = {"adamw"}});
    f.two_numbers("betas", s.beta1, s.beta2, {.help = "AdamW's decay rates", .at_least = 0, .below = 1});
    f.field("eps", s.eps, {.help = "AdamW's", .above = 0});
    f.field("weight_decay", s.weight_decay, {.help = "on every trainable tensor", .at_least = 0});
    f.records("groups",
              {[&] { return s.groups.size(); }, [&](size_t n) { s.groups.resize(n); },
               [&](Fields& inner, size_t i) { visit_group(inner, s.groups[i]); }},
              {.help = "parameters with a rate or decay of their own"});
    f.field("max_grad_norm", s.max_grad_norm, {.help = "0: no clipping", .at_least = 0});
    f.field("max_length", s.max_length, {.help = "tokens; prompts are cut on the left", .at_least = 1});
    f.field("gradient_checkpointing", s.gradient_checkpointing, {.help = "less memory, more time"});
    f.field("packing", s.packing, {.help = "several examples a row"});
    f.field("shuffle", s.shuffle, {.help = "a new order every epoch"});
    f.field(
        "sampler", s.sampler,
        {.help = "rows of like length (HF's) or of one kind, with images or without (LLaVA's), in a batch",
         .choices = {"random", "group_by_length", "group_by_modality_length"}});
    f.field("save_every", s.save_every, {.help = "steps; 0: never", .at_least = 0});
    f.field("evaluate_every", s.evaluate_every, {.help = "steps; 0: never", .at_least = 0});
    f.field("keep_every", s.keep_every,
            {.help = "steps after which the adapter as it is stays in adapters/step-N, for analyze; 0: never",
             .at_least = 0});
    f.end();
}

void visit_evaluate(Fields& f, EvaluateSettings& s) {
    f.begin("evaluate", "evaluation; left out: none");
    f.field("tasks", s.tasks, {.help = "tasks to score", .names = &KnownNames::tasks, .or_file = true});
    f.field("template", s.template_name,
            {.help = "the task's own unless named", .names = &KnownNames::templates, .nullable = true});
    f.field("num_fewshot", s.num_fewshot, {.help = "worked examples before the question", .at_least = 0});
    f.field("chat_template", s.chat_template, {.help = "wraps the prompt", .nullable = true});
    f.field("mode", s.mode, {.help = "where the task allows both", .choices = {"generate", "loglikelihood"}});
    f.field("num_beams", s.num_beams, {.help = "1: greedy; 0: the task's own", .at_least = 0});
    f.field("max_new_tokens", s.max_new_tokens, {.help = "of an answer; 0: the task's own", .at_least = 0});
    f.field("limit", s.limit, {.help = "examples a task; 0: all", .at_least = 0});
    f.number_or_auto("batch_size", s.batch_size, {.help = "requests at once", .at_least = 1});
    f.end();
}

void visit_feature(Fields& f, FeatureSettings& s) {
    f.field("images", s.images, {.help = "folder of images", .nullable = true});
    f.field("videos", s.videos, {.help = "folder of videos", .nullable = true});
    f.field("import", s.import, {.help = "folder of .h5 or .npz features", .nullable = true});
    f.field(
        "list", s.list,
        {.help = "files of the folder and their ids: COCO's {images: [{id, file_name}]}, or lines {id, file}",
         .nullable = true});
    f.field("to", s.to, {.help = "folder of the features, below data_dir", .required = true});
    f.field("encoder", s.encoder,
            {.help = "CLIP: a HF folder or an open_clip safetensors file", .nullable = true});
    f.field("kind", s.kind,
            {.help = "grid: a row for each place of the last grid; embedding: a row for each picture",
             .choices = {"grid", "embedding"}});
    f.field(
        "resize", s.resize,
        {.help = "stretch: to the square; crop: the shorter side, then the middle; auto: stretch for grids",
         .choices = {"auto", "stretch", "crop"}});
    f.field("every", s.every, {.help = "videos: seconds from frame to frame", .above = 0});
    f.field("rows", s.rows,
            {.help = "fitted to so many rows by zeros or maxima; 0: as they are",
             .at_least = 0,
             .at_most = 65536});
    f.field("batch_size", s.batch_size, {.help = "pictures at once", .at_least = 1, .at_most = 65536});
    f.field("workers", s.workers,
            {.help = "decoding threads; 0: all processors", .at_least = 0, .at_most = 1024});
    f.field("on_error", s.on_error, {.help = "damaged files", .choices = {"skip", "refuse"}});
    f.field("dtype", s.dtype, {.help = "of the encoder", .choices = {"float32", "bfloat16", "float16"}});
}

} // namespace

void visit(Fields& f, std::vector<FeatureSettings>& s) {
    f.records("features",
              {[&] { return s.size(); }, [&](size_t n) { s.resize(n); },
               [&](Fields& inner, size_t i) { visit_feature(inner, s[i]); }, "to"},
              {.help = "images or videos to features (`dora-bench features`)"});
}

void visit(Fields& f, RunSettings& s) {
    f.field("name", s.name, {.help = "of the experiment; left out: the file's"});
    f.field("seed", s.seed, {.help = "or a list: every seed becomes a run"});
    f.field("data_dir", s.data_dir, {.help = "data sets in their own projects' folder names and formats"});
    f.field("plugins", s.plugins, {.help = "shared objects to load"});
    visit_backend(f, s.backend);
    visit_adapter(f, s.adapter);
    visit_train(f, s.train);
    visit_evaluate(f, s.evaluate);
    f.field("results", s.results, {.help = "the store"});
}

const std::vector<std::pair<std::string, std::string>>& twin_keys() {
    static const std::vector<std::pair<std::string, std::string>> kTwins{
        {"adapter.alpha", "adapter.scaling"},
        {"train.epochs", "train.max_steps"},
        {"backend.shape", "backend.checkpoint"},
        {"train.warmup_steps", "train.warmup_ratio"}};
    return kTwins;
}

std::string twin_of(const std::string& key) {
    for (const auto& [one, other] : twin_keys()) {
        if (key == one) return other;
        if (key == other) return one;
    }
    return "";
}

} // namespace dorabench
