#include "backends/llava/backend.h"
#include "backends/llava/llava.h"
#include "backends/nn/weights.h"
#include "backends/nn/generation_defaults.h"
#include "backends/ops/device.h"
#include "backends/ops/product.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <ATen/ops/gelu.h>
#include <algorithm>
#include <map>

namespace dorabench {
namespace {

bool is_named(const BackendSettings& settings) { return settings.checkpoint.empty(); }

LlavaConfig config_of(const BackendSettings& settings) {
    if (is_named(settings) && settings.shape.empty())
        throw Error::config("backend: expected a checkpoint or a shape, got neither");
    return is_named(settings)
               ? named_llava_config(settings.shape, settings.vision_tower)
               : read_llava_config(resolve_checkpoint(settings.checkpoint), settings.vision_tower);
}

ModelShapes shapes_of(const BackendSettings& settings) {
    return llava_shapes(config_of(settings), is_named(settings) ? settings.shape : settings.checkpoint);
}

std::vector<ParameterShape> part_of(const ModelShapes& shapes, bool vision) {
    std::vector<ParameterShape> out;
    for (const ParameterShape& parameter : shapes.parameters)
        if ((parameter.part == "vision") == vision) out.push_back(parameter);
    return out;
}

bool of_vision(const std::string& name) { return name.find("vision_tower.") != std::string::npos; }

Weights language_weights(const LlavaConfig& config, const ModelShapes& shapes, const std::string& folder,
                         const WeightOptions& base) {
    WeightOptions options = base;
    options.ignorable = [tied = config.text.tied](const std::string& name) {
        return of_vision(name) || ends_with(name, "rotary_emb.inv_freq") ||
               (tied && ends_with(name, "lm_head.weight"));
    };
    return load_weights(folder, part_of(shapes, false), options);
}

// The image encoder's tensors under the names of llava_shapes(). transformers 5 leaves the level
// "vision_model." out; the original layout has them in a folder of their own, unless they were written along.
// folder: the checkpoint's; empty: none, and the encoder's own folder is read.
Weights vision_weights(const LlavaConfig& config, const ModelShapes& shapes, const std::string& folder,
                       const WeightOptions& base) {
    WeightOptions options = base;
    options.ignorable = [](const std::string&) { return true; }; // the language part, CLIP's text encoder
    const std::string prefix = config.vision_prefix;
    const bool beside =
        folder.empty() ||
        (config.original && !Checkpoint::open(folder).find(prefix + "embeddings.class_embedding"));
    if (beside && config.tower.empty())
        throw Error::data(folder, "/config.json: mm_vision_tower \"", config.tower_name,
                          "\" is neither a folder nor in the local cache; name the image encoder's folder as "
                          "backend.vision_tower (--vision-tower)");
    options.names = [prefix, beside](const std::string& name) {
        const std::string inner = name.substr(prefix.size());
        if (beside) return std::vector<std::string>{"vision_model." + inner, inner};
        const std::string outer = prefix.substr(0, prefix.size() - std::string("vision_model.").size());
        return std::vector<std::string>{name, outer + inner};
    };
    return load_weights(beside ? config.tower : folder, part_of(shapes, true), options);
}

} // namespace

at::Tensor Projector::forward(const at::Tensor& features) const {
    return linear_product(
        at::gelu(linear_product(features.to(weight1.options().requires_grad(false)), weight1, bias1)),
        weight2, bias2);
}

bool Projector::trainable() const {
    for (const at::Tensor* tensor : {&weight1, &bias1, &weight2, &bias2})
        if (tensor->defined() && tensor->requires_grad()) return true;
    return false;
}

LlavaBackend::LlavaBackend(const BackendSettings& settings, uint64_t seed) {
    if (settings.attention != "sdpa" && settings.attention != "math")
        throw Error::config("backend.attention must be sdpa or math, got \"", settings.attention, "\"");
    if (settings.image_processing != "pad" && settings.image_processing != "crop")
        throw Error::config("backend.image_processing must be pad or crop, got \"", settings.image_processing,
                            "\"");
    config_ = config_of(settings);
    shapes_ = llava_shapes(config_, is_named(settings) ? settings.shape : settings.checkpoint);
    config_text_ = llava_config_json(config_, settings.dtype);
    defaults_.eos_token_ids = config_.text.eos;
    WeightOptions options;
    options.dtype = parse_dtype(settings.dtype);
    options.device = resolve_device(settings.device);
    WeightOptions vision =
        options; // 16-bit convolutions are slow on a CPU, and the encoder runs once an image
    if (vision.device.is_cpu()) vision.dtype = at::kFloat;
    PackedWeights packed, none; // the language model's; an encoder that a file holds in NF4 is dequantised
    options.pack = pack_options(settings, packed);
    vision.pack = {&none, false, true};
    std::string tokenizer = settings.tokenizer;
    Weights weights, tower;
    if (is_named(settings)) {
        weights = random_weights(seed, part_of(shapes_, false), options, config_.init_std);
        tower = config_.tower.empty() ? random_weights(seed, part_of(shapes_, true), vision)
                                      : vision_weights(config_, shapes_, "", vision);
    } else {
        checkpoint_ = resolve_checkpoint(settings.checkpoint);
        config_text_ = read_file(checkpoint_ + "/config.json", size_t(16) << 20);
        defaults_ = read_generation_defaults(checkpoint_);
        if (!defaults_.eos_set) defaults_.eos_token_ids = config_.text.eos;
        if (tokenizer.empty() && has_tokenizer(checkpoint_)) tokenizer = checkpoint_;
        weights = language_weights(config_, shapes_, checkpoint_, options);
        tower = vision_weights(config_, shapes_, checkpoint_, vision);
    }
    if (!tokenizer.empty()) tokenizer_ = load_tokenizer(tokenizer);
    model_ = std::make_unique<LlamaModel>(config_.text, weights, settings.attention == "math", config_.names,
                                          packed);
    const auto paths = config_.projector_paths();
    projector_ = {weights.at(paths[0] + ".weight"), weights[paths[0] + ".bias"],
                  weights.at(paths[1] + ".weight"), weights[paths[1] + ".bias"]};
    images_ = std::make_unique<ImageFeatures>(
        make_clip_vision(tower, config_.vision_prefix, config_.vision),
        ImageOptions{settings.image_processing, config_.feature_layer, config_.with_class});
    for (const ParameterShape& parameter : part_of(shapes_, true))
        vision_.push_back({parameter.name, tower.at(parameter.name)});
}

std::vector<NamedTensor> LlavaBackend::parameters() {
    std::vector<NamedTensor> out = model_->parameters();
    const auto paths = config_.projector_paths();
    out.push_back({paths[0] + ".weight", projector_.weight1});
    if (projector_.bias1.defined()) out.push_back({paths[0] + ".bias", projector_.bias1});
    out.push_back({paths[1] + ".weight", projector_.weight2});
    if (projector_.bias2.defined()) out.push_back({paths[1] + ".bias", projector_.bias2});
    out.insert(out.end(), vision_.begin(), vision_.end());
    return out;
}

LlavaVocabulary LlavaBackend::vocabulary() const {
    const LlamaConfig& c = config_.text;
    LlavaVocabulary out;
    out.words = {tokenizer_.get(), c.vocab, c.bos, c.eos.empty() ? -1 : c.eos[0], checkpoint_};
    if (tokenizer_) out.words.bos = tokenizer_->bos_id(), out.words.eos = tokenizer_->eos_id();
    out.image_id = config_.image_id;
    out.patches = config_.image_tokens();
    return out;
}

EncodedExample LlavaBackend::encode(const TrainingPair& pair, const EncodeOptions& options) const {
    return encode_llava(pair, options, vocabulary());
}

double LlavaBackend::loss_weight(const EncodedExample& example) const { return causal_loss_weight(example); }

std::vector<at::Tensor> LlavaBackend::image_embeddings(std::span<const std::string> files) {
    if (!projector_.trainable())
        return images_->get(files, "/projected", [&](const at::Tensor& x) { return projector_.forward(x); });
    const std::vector<at::Tensor> features = images_->get(files, "/features", {});
    return projector_.forward(at::stack(features)).unbind(0);
}

at::Tensor LlavaBackend::to_device(std::span<const int64_t> values) const {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
    return out.to(model_->device());
}

at::Tensor LlavaBackend::embed(std::span<const int64_t> codes, const ImageBook& book) {
    const int64_t patches = config_.image_tokens();
    std::vector<int64_t> text, order;
    std::map<int64_t, int64_t> local; // slot -> place among this call's images
    std::vector<std::string> files;
    for (int64_t code : codes) {
        if (code >= 0) {
            text.push_back(code);
            continue;
        }
        const int64_t slot = (-1 - code) / patches;
        if (local.try_emplace(slot, static_cast<int64_t>(files.size())).second)
            files.push_back(book.file(slot));
    }
    at::Tensor words = model_->embed(to_device(text));
    if (files.empty()) return words;
    std::vector<at::Tensor> parts{words};
    for (const at::Tensor& image : image_embeddings(files)) parts.push_back(image.to(words.dtype()));
    int64_t next = 0;
    for (int64_t code : codes)
        order.push_back(code >= 0 ? next++
                                  : static_cast<int64_t>(text.size()) +
                                        local.at((-1 - code) / patches) * patches + (-1 - code) % patches);
    return at::cat(parts, 0).index_select(0, to_device(order));
}

at::Tensor LlavaBackend::loss_sum(std::span<const EncodedExample> batch) {
    std::vector<int64_t> codes, positions, labels;
    std::vector<float> scale;
    std::vector<PackedRow> rows;
    ImageBook book;
    bool weighted = false;
    const int64_t patches = config_.image_tokens();
    for (const EncodedExample& example : batch) {
        const size_t size = example.input_ids.size();
        const std::string what = cat("training row ", example.index);
        TORCH_CHECK(example.labels.size() == size, "[llava] labels must be as many as input_ids (", size,
                    "), got ", example.labels.size());
        check_images(example.input_ids, example.media, what);
        for (int64_t id : example.input_ids)
            if (id != kImageMark && (id < 0 || id >= shapes_.vocab))
                throw Error::data(what, ": input_ids must lie in [0, ", shapes_.vocab,
                                  "), the vocabulary; got ", id);
        std::vector<int64_t> starts = example.segments.empty() ? std::vector<int64_t>{0} : example.segments;
        starts.push_back(static_cast<int64_t>(size));
        size_t image = 0;
        for (size_t s = 0; s + 1 < starts.size(); ++s) {
            if (starts[s] == starts[s + 1]) continue;
            const int64_t begin = static_cast<int64_t>(codes.size());
            for (int64_t i = starts[s]; i < starts[s + 1]; ++i) {
                append_codes(example.input_ids, i, i + 1, example.media.images, image, patches, book, codes);
                labels.resize(codes.size(),
                              kIgnoreLabel); // a patch predicts nothing but what follows the last
                if (i + 1 < starts[s + 1]) labels.back() = example.labels[i + 1];
            }
            const int64_t end = static_cast<int64_t>(codes.size());
            for (int64_t i = begin; i < end; ++i) positions.push_back(i - begin);
            rows.push_back({begin, end});
        }
        scale.resize(codes.size(), static_cast<float>(example.weight));
        weighted |= example.weight != 1;
    }
    if (codes.empty()) return at::zeros({}, at::kFloat);
    at::Tensor weights = weighted
                             ? at::from_blob(scale.data(), {static_cast<int64_t>(scale.size())}, at::kFloat)
                                   .to(model_->device(), at::kFloat, false, true)
                             : at::Tensor();
    at::Tensor x = embed(codes, book);
    if (input_gradients_ && !x.requires_grad() && at::GradMode::is_enabled()) x.requires_grad_(true);
    return model_->loss(model_->forward_rows(x, to_device(positions), std::move(rows)), to_device(labels),
                        weights);
}

at::Tensor LlavaBackend::probe_logits(const Ids& ids) {
    at::NoGradGuard no_grad;
    check_ids(ids, shapes_.vocab, "probe");
    const int64_t n = static_cast<int64_t>(ids.size());
    at::Tensor positions = at::arange(n, at::kLong).to(model_->device());
    return model_->logits(model_->forward_rows(model_->embed(to_device(ids)), positions, {{0, n}})).cpu();
}

BackendFactory llava_backend_factory() {
    BackendFactory factory;
    factory.name = "llava";
    factory.help =
        "LLaVA-1.5: CLIP image encoder, MLP projector, LLaMA (Hugging Face's and the original layout)";
    factory.shapes = shapes_of;
    factory.load = [](const BackendSettings& settings, uint64_t seed) -> std::unique_ptr<Backend> {
        return std::make_unique<LlavaBackend>(settings, seed);
    };
    factory.shape_names = llava_shape_names;
    return factory;
}

} // namespace dorabench
