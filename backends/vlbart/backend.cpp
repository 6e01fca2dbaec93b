#include "backends/vlbart/backend.h"
#include "backends/nn/causal_text.h"
#include "backends/ops/device.h"
#include "backends/ops/tensor_io.h"
#include "backends/vlbart/vlbart.h"
#include "backends/vlbart/weights.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include <algorithm>
#include <array>
#include <cstdlib>

namespace dorabench {
namespace {

bool is_named(const BackendSettings& settings) { return settings.checkpoint.empty(); }

// The config that the checkpoint or the name states, before options.
BartConfig stated_config(const BackendSettings& settings) {
    if (is_named(settings) && settings.shape.empty())
        throw Error::config("backend: expected a checkpoint or a shape, got neither");
    return is_named(settings) ? named_bart_config(settings.shape)
                              : read_bart_config(resolve_checkpoint(settings.checkpoint));
}

double dropout_of(const std::string& text) {
    char* end = nullptr;
    const double p = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(p >= 0 && p < 1))
        throw Error::config("backend.options.dropout must be in [0, 1), got \"", text, "\"");
    return p;
}

BartConfig config_of(const BackendSettings& settings) {
    BartConfig config = stated_config(settings);
    for (const auto& [key, value] : settings.options) {
        if (key == "visual")
            config = with_visual(config, value);
        else if (key == "dropout")
            config.dropout = config.attention_dropout = config.activation_dropout = dropout_of(value);
        else
            throw Error::config("backend.options: vlbart knows no \"", key,
                                "\" (visual: image | video; dropout: 0.1)");
    }
    return config;
}

ModelShapes shapes_of(const BackendSettings& settings) {
    return bart_shapes(config_of(settings), is_named(settings) ? settings.shape : settings.checkpoint);
}

bool has_own_mean(const EncodedExample& example) {
    if (example.loss_mean == LossMean::automatic) return !example.media.empty() || example.weight != 1;
    return example.loss_mean == LossMean::example;
}

int64_t target_tokens(const EncodedExample& example) {
    return std::count_if(example.labels.begin(), example.labels.end(), [](int64_t l) { return l >= 0; });
}

at::Tensor longs(const std::vector<int64_t>& values, at::Device device) {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
    return out.to(device);
}

// Whole targets behind each other, as the decoder reads them.
struct TargetBatch {
    std::vector<int64_t> ids, positions, labels;
    std::vector<float> scale;
    std::vector<PackedRow> rows;
    void add(const EncodedExample& example, const BartConfig& config) {
        const int64_t begin = static_cast<int64_t>(ids.size()), tokens = target_tokens(example);
        const Ids inputs = shifted_right(example.labels, config);
        const double scale_of = has_own_mean(example)
                                    ? example.weight / static_cast<double>(std::max<int64_t>(1, tokens))
                                    : example.weight;
        for (size_t i = 0; i < example.labels.size(); ++i) {
            ids.push_back(inputs[i]);
            positions.push_back(static_cast<int64_t>(i));
            labels.push_back(example.labels[i]);
            scale.push_back(static_cast<float>(scale_of));
        }
        rows.push_back({begin, static_cast<int64_t>(ids.size())});
    }
};

void check_example(const EncodedExample& example, const BartConfig& c) {
    const std::string what = cat("training row ", example.index);
    check_ids(example.input_ids, c.vocab, what + ": input_ids");
    for (int64_t label : example.labels)
        if (label != kIgnoreLabel && (label < 0 || label >= c.vocab))
            throw Error::data(what, ": labels must be ", kIgnoreLabel, " or in [0, ", c.vocab, "), got ",
                              label);
    const auto most = static_cast<size_t>(c.positions);
    TORCH_CHECK(!example.input_ids.empty() && example.input_ids.size() <= most && !example.labels.empty() &&
                    example.labels.size() <= most,
                "[vlbart] ", what, ": source and target must have 1 to ", c.positions,
                " tokens (max_position_embeddings), got ", example.input_ids.size(), " and ",
                example.labels.size());
    TORCH_CHECK(example.segments.size() <= 1, "[vlbart] ", what,
                ": packed documents are not for encoder-decoders; set packing: false");
}

} // namespace

VlbartBackend::VlbartBackend(const BackendSettings& settings, uint64_t seed) {
    if (settings.attention != "sdpa" && settings.attention != "math")
        throw Error::config("backend.attention must be sdpa or math, got \"", settings.attention, "\"");
    const BartConfig config = config_of(settings);
    shapes_ = shapes_of(settings);
    config_text_ = bart_config_json(config, settings.dtype);
    WeightOptions options;
    options.dtype = parse_dtype(settings.dtype);
    options.device = resolve_device(settings.device);
    PackedWeights packed;
    options.pack = pack_options(settings, packed);
    std::string tokenizer = settings.tokenizer;
    defaults_.eos_token_ids = {config.eos};
    defaults_.forced_eos_token_id = config.forced_eos;
    BartWeights weights;
    if (is_named(settings)) {
        weights = random_bart_weights(seed, config, options);
    } else {
        checkpoint_ = resolve_checkpoint(settings.checkpoint);
        if (settings.options.empty())
            config_text_ = read_file(checkpoint_ + "/config.json", size_t(16) << 20);
        defaults_ = read_generation_defaults(checkpoint_);
        if (!defaults_.eos_set) defaults_.eos_token_ids = {config.eos};
        if (tokenizer.empty() && has_tokenizer(checkpoint_)) tokenizer = checkpoint_;
        weights = load_bart_weights(checkpoint_, stated_config(settings), config, seed, options);
    }
    if (!weights.drawn.empty())
        log::info(checkpoint_, " lacks ", weights.drawn.size(),
                  " tensors of the visual part, drawn from seed ", seed, ": ", join(weights.drawn, ", "));
    if (!tokenizer.empty()) tokenizer_ = load_tokenizer(tokenizer);
    drawn_ = weights.drawn;
    model_ = std::make_unique<BartModel>(config, weights.tensors, weights.logits_bias,
                                         settings.attention == "math", packed);
}

EncodedExample VlbartBackend::encode(const TrainingPair& pair, const EncodeOptions& options) const {
    return encode_bart(pair, options, vocabulary());
}

double VlbartBackend::loss_weight(const EncodedExample& example) const {
    const int64_t tokens = target_tokens(example);
    return has_own_mean(example) ? (tokens > 0 ? 1 : 0) : static_cast<double>(tokens);
}

at::Tensor VlbartBackend::loss_sum(std::span<const EncodedExample> batch) {
    if (batch.empty()) return at::zeros({}, at::kFloat);
    const BartConfig& c = model_->config();
    std::vector<BartSource> sources;
    std::vector<size_t> order(batch.size());
    for (size_t i = 0; i < batch.size(); ++i) {
        check_example(batch[i], c);
        sources.push_back({batch[i].input_ids,
                           read_visual(batch[i].media, c.visual, cat("training row ", batch[i].index))});
        order[i] = i;
    }
    // rows of one shape side by side: attention takes them together
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return std::pair(sources[a].length(), batch[a].labels.size()) <
               std::pair(sources[b].length(), batch[b].labels.size());
    });
    std::vector<const BartSource*> ordered;
    TargetBatch target;
    for (size_t i : order) {
        ordered.push_back(&sources[i]);
        target.add(batch[i], c);
    }
    model_->new_dropout();
    std::vector<PackedRow> source_rows;
    const at::Tensor memory = model_->encode(ordered, source_rows);
    const at::Device device = model_->device();
    const at::Tensor x = model_->decoder_input(longs(target.ids, device), longs(target.positions, device));
    const at::Tensor h = model_->decode_rows(x, target.rows, memory, source_rows);
    const at::Tensor scale =
        at::from_blob(target.scale.data(), {static_cast<int64_t>(target.scale.size())}, at::kFloat)
            .to(device, at::kFloat, false, true);
    return model_->loss(h, longs(target.labels, device), scale);
}

at::Tensor VlbartBackend::probe_logits(const Ids& ids) {
    at::NoGradGuard no_grad;
    const BartConfig& c = model_->config();
    check_ids(ids, c.vocab, "probe");
    const int64_t n = static_cast<int64_t>(ids.size());
    if (n < 1 || n > c.positions)
        throw Error::data("probe: expected 1 to ", c.positions, " ids (max_position_embeddings), got ", n);
    const BartSource source{ids, {}};
    const std::array<const BartSource*, 1> sources{&source};
    std::vector<PackedRow> rows;
    const at::Tensor memory = model_->encode(sources, rows);
    const at::Tensor x = model_->decoder_input(longs(shifted_right(ids, c), model_->device()),
                                               at::arange(n, at::kLong).to(model_->device()));
    return model_->logits(model_->decode_rows(x, {{0, n}}, memory, rows)).cpu();
}

BackendFactory vlbart_backend_factory() {
    BackendFactory factory;
    factory.name = "vlbart";
    factory.help = "BART, and VL-BART: images and videos as features behind the text";
    factory.shapes = shapes_of;
    factory.load = [](const BackendSettings& settings, uint64_t seed) -> std::unique_ptr<Backend> {
        return std::make_unique<VlbartBackend>(settings, seed);
    };
    factory.shape_names = bart_shape_names;
    return factory;
}

} // namespace dorabench
