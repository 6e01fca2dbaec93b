#include "backends/llama/backend.h"
#include "backends/llama/llama.h"
#include "backends/nn/weights.h"
#include "backends/ops/device.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include <algorithm>

namespace dorabench {
namespace {

bool is_named(const BackendSettings& settings) { return settings.checkpoint.empty(); }

LlamaConfig config_of(const BackendSettings& settings) {
    if (is_named(settings) && settings.shape.empty())
        throw Error::config("backend: expected a checkpoint or a shape, got neither");
    return is_named(settings) ? named_llama_config(settings.shape)
                              : read_llama_config(resolve_checkpoint(settings.checkpoint));
}

ModelShapes shapes_of(const BackendSettings& settings) {
    return llama_shapes(config_of(settings), is_named(settings) ? settings.shape : settings.checkpoint);
}

// Some files leave the leading "model." out (saved without the output layer), some have one too many.
std::vector<std::string> names_in_file(const std::string& name) {
    std::vector<std::string> names{name, "model." + name};
    if (starts_with(name, "model.")) names.push_back(name.substr(6));
    return names;
}

Weights weights_of(const BackendSettings& settings, const LlamaConfig& config, const ModelShapes& shapes,
                   uint64_t seed, PackedWeights& packed) {
    WeightOptions options;
    options.pack = pack_options(settings, packed);
    options.dtype = parse_dtype(settings.dtype);
    options.device = resolve_device(settings.device);
    if (is_named(settings)) return random_weights(seed, shapes.parameters, options);
    options.names = names_in_file;
    options.ignorable = [tied = config.tied](const std::string& name) {
        return ends_with(name, "rotary_emb.inv_freq") || (tied && ends_with(name, "lm_head.weight"));
    };
    return load_weights(resolve_checkpoint(settings.checkpoint), shapes.parameters, options);
}

} // namespace

LlamaBackend::LlamaBackend(const BackendSettings& settings, uint64_t seed) {
    if (settings.attention != "sdpa" && settings.attention != "math")
        throw Error::config("backend.attention must be sdpa or math, got \"", settings.attention, "\"");
    const LlamaConfig config = config_of(settings);
    shapes_ = shapes_of(settings);
    config_text_ = llama_config_json(config, settings.dtype);
    defaults_.eos_token_ids = config.eos;
    std::string tokenizer = settings.tokenizer;
    if (!is_named(settings)) {
        checkpoint_ = resolve_checkpoint(settings.checkpoint);
        config_text_ = read_file(checkpoint_ + "/config.json", size_t(16) << 20);
        defaults_ = read_generation_defaults(checkpoint_);
        if (!defaults_.eos_set) defaults_.eos_token_ids = config.eos;
        if (tokenizer.empty() && has_tokenizer(checkpoint_)) tokenizer = checkpoint_;
    }
    if (!tokenizer.empty()) tokenizer_ = load_tokenizer(tokenizer);
    PackedWeights packed;
    const Weights weights = weights_of(settings, config, shapes_, seed, packed);
    model_ =
        std::make_unique<LlamaModel>(config, weights, settings.attention == "math", LlamaNames{}, packed);
}

CausalVocabulary LlamaBackend::vocabulary() const {
    const LlamaConfig& c = model_->config();
    CausalVocabulary out{tokenizer_.get(), c.vocab, c.bos, c.eos.empty() ? -1 : c.eos[0], checkpoint_};
    if (tokenizer_) out.bos = tokenizer_->bos_id(), out.eos = tokenizer_->eos_id();
    return out;
}

EncodedExample LlamaBackend::encode(const TrainingPair& pair, const EncodeOptions& options) const {
    return encode_causal(pair, options, vocabulary());
}

double LlamaBackend::loss_weight(const EncodedExample& example) const { return causal_loss_weight(example); }

at::Tensor LlamaBackend::loss_sum(std::span<const EncodedExample> batch) {
    std::vector<int64_t> ids, positions, labels;
    std::vector<float> scale;
    std::vector<PackedRow> rows;
    bool weighted = false;
    for (const EncodedExample& example : batch) {
        const int64_t size = static_cast<int64_t>(example.input_ids.size());
        TORCH_CHECK(example.labels.size() == example.input_ids.size(),
                    "[llama] labels must be as many as input_ids (", size, "), got ", example.labels.size());
        check_ids(example.input_ids, shapes_.vocab, cat("training row ", example.index, ": input_ids"));
        std::vector<int64_t> starts = example.segments.empty() ? std::vector<int64_t>{0} : example.segments;
        starts.push_back(size);
        for (size_t s = 0; s + 1 < starts.size(); ++s) {
            if (starts[s] == starts[s + 1]) continue;
            const int64_t begin = static_cast<int64_t>(ids.size());
            for (int64_t i = starts[s]; i < starts[s + 1]; ++i) {
                ids.push_back(example.input_ids[i]);
                positions.push_back(i - starts[s]);
                labels.push_back(i + 1 < starts[s + 1] ? example.labels[i + 1] : kIgnoreLabel);
                scale.push_back(static_cast<float>(example.weight));
            }
            rows.push_back({begin, static_cast<int64_t>(ids.size())});
        }
        weighted |= example.weight != 1;
    }
    if (ids.empty()) return at::zeros({}, at::kFloat);
    const auto device = model_->device();
    auto longs = [&](std::vector<int64_t>& v) {
        return at::from_blob(v.data(), {static_cast<int64_t>(v.size())}, at::kLong)
            .to(device, at::kLong, false, true);
    };
    at::Tensor weights = weighted
                             ? at::from_blob(scale.data(), {static_cast<int64_t>(scale.size())}, at::kFloat)
                                   .to(device, at::kFloat, false, true)
                             : at::Tensor();
    at::Tensor x = model_->embed(longs(ids));
    if (input_gradients_ && !x.requires_grad() && at::GradMode::is_enabled()) x.requires_grad_(true);
    return model_->loss(model_->forward_rows(x, longs(positions), std::move(rows)), longs(labels), weights);
}

at::Tensor LlamaBackend::probe_logits(const Ids& ids) {
    at::NoGradGuard no_grad;
    check_ids(ids, shapes_.vocab, "probe");
    const int64_t n = static_cast<int64_t>(ids.size());
    at::Tensor tokens = at::empty({n}, at::kLong);
    std::copy(ids.begin(), ids.end(), tokens.mutable_data_ptr<int64_t>());
    at::Tensor positions = at::arange(n, at::kLong).to(model_->device());
    return model_
        ->logits(model_->forward_rows(model_->embed(tokens.to(model_->device())), positions, {{0, n}}))
        .cpu();
}

BackendFactory llama_backend_factory() {
    BackendFactory factory;
    factory.name = "llama";
    factory.help = "LLaMA 1, 2, 3, 3.1, 3.2; Mistral without a sliding window; Qwen2";
    factory.shapes = shapes_of;
    factory.load = [](const BackendSettings& settings, uint64_t seed) -> std::unique_ptr<Backend> {
        return std::make_unique<LlamaBackend>(settings, seed);
    };
    factory.shape_names = llama_shape_names;
    return factory;
}

} // namespace dorabench
